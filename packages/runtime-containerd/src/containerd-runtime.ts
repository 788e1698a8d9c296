import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { availableParallelism, constants, machine, totalmem } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  Backoff,
  abortable,
  delay,
  newId,
  silentLogger,
  systemClock,
  systemRandom,
  type Clock,
  type Logger,
  type Random,
} from "@warren/std";
import {
  RuntimeError,
  checkContainerSpec,
  signalNumber,
  stopSignalNumber,
  type ContainerEvent,
  type ContainerSpec,
  type ContainerState,
  type ContainerStats,
  type ContainerStatus,
  type ExecProcess,
  type ExecSpec,
  type ExecStreams,
  type ExitStatus,
  type Image,
  type LocalImage,
  type LogLine,
  type LogOptions,
  type Platform,
  type PullOptions,
  type RegistryAuth,
  type PulledImage,
  type ResolveOptions,
  type ResolvedImage,
  type Runtime,
  type RuntimeInfo,
  type Connection as ContainerConnection,
} from "@warren/runtime";
import { Cgroups } from "./cgroup.ts";
import { Connection, unless } from "./connection.ts";
import { ContainerLog } from "./container-log.ts";
import { ContainerPieces, bootId, bootLabel, logUriLabel, stopSignalLabel } from "./container-pieces.ts";
import { taskEvents } from "./event-stream.ts";
import { connectTo } from "./container-connection.ts";
import { startExec } from "./exec-process.ts";
import { Container, ContainersService } from "./generated/containerd/containers.ts";
import { NamespacesService } from "./generated/containerd/namespaces.ts";
import { SnapshotsService } from "./generated/containerd/snapshots.ts";
import { Status, TasksService, type Process } from "./generated/containerd/tasks.ts";
import { VersionService } from "./generated/containerd/version.ts";
import type { Timestamp } from "./generated/google/protobuf/timestamp.ts";
import { ImageStore, snapshotter } from "./image-store.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import { NativeProgram, builtProgram } from "./native-program.ts";
import { execProcess, type ProcessUser } from "./oci-spec.ts";
import { defaultRunDir, defaultSystemAddress, type ContainerdDependencies, type ContainerdOptions } from "./options.ts";
import { containerOfShim, shimsOf, signalProcess } from "./orphan-processes.ts";
import { machinePlatform } from "./platform.ts";
import { processStartMs } from "./process-start.ts";
import { processUser, readUserTables } from "./process-user.ts";
import { digestOf } from "./registry.ts";

/** How long the process of an aborted exec may take to start, ms. */
const stuckMs = 5_000;
/** Nine waits that add up to about five seconds. */
const endTries = 10;

/** Connects to a containerd that runs. @throws RuntimeError `RUNTIME_UNAVAILABLE` */
export async function connectContainerd(
  dependencies: ContainerdDependencies = {},
  options: ContainerdOptions = {},
): Promise<Runtime> {
  const runtime = new ContainerdRuntime(dependencies, options);
  try {
    await runtime.info();
    await runtime.restoreRecords();
    return runtime;
  } catch (error) {
    await runtime.close();
    throw error;
  }
}

/**
 * C1 A container's record in containerd is made last and removed last: what `list` does not show is only pieces, which
 *    a new `create` of the id, `remove` and `collectOrphans` clear away.
 * C2 Calls that change one container run one after another.
 */
class ContainerdRuntime implements Runtime {
  readonly #connection: Connection;
  readonly #images: ImageStore;
  readonly #address: string;
  readonly #namespace: string;
  readonly #cgroupParent: string;
  readonly #pieces: ContainerPieces;
  readonly #runDir: string;
  readonly #dataDir: string;
  readonly #platform: Platform;
  readonly #log: Logger;
  readonly #random: Random;
  readonly #clock: Clock;
  readonly #program: NativeProgram;
  readonly #cgroups = new Cgroups();
  readonly #closed = new AbortController();
  /** C2. */
  readonly #byId = new KeyedQueue();
  /** Containers whose `start` is under way: `created` until it is done. */
  readonly #starting = new Set<string>();
  readonly #boot = bootId();
  #ociRuntime: Promise<Pick<RuntimeInfo, "ociRuntime">> | undefined;
  /** Ends that are being recorded. */
  readonly #exits = new Map<string, Promise<ExitStatus>>();
  /** Names of the directories of execs that are ours. */
  readonly #execs = new Set<string>();

  constructor(
    { log = silentLogger, random = systemRandom, clock = systemClock, fetch: fetcher = fetch }: ContainerdDependencies,
    options: ContainerdOptions,
  ) {
    this.#namespace = options.namespace ?? "warren";
    this.#runDir = options.runDir ?? defaultRunDir;
    const own = this.#runDir === defaultRunDir ? "" : `-${digestOf(this.#runDir).slice("sha256:".length, 19)}`;
    this.#cgroupParent = options.cgroupParent ?? `${this.#namespace}${own}`;
    this.#dataDir = options.dataDir ?? "/var/lib/warren/runtime";
    this.#program = new NativeProgram(options.program ?? builtProgram, clock);
    this.#clock = clock;
    this.#log = log.child({ component: "runtime-containerd" });
    this.#random = random;
    this.#address = options.address ?? defaultSystemAddress;
    this.#connection = new Connection(this.#address, this.#namespace);
    this.#platform = machinePlatform(machine(), readFileSync("/proc/cpuinfo", "utf8"));
    this.#images = new ImageStore(
      { connection: this.#connection, random, clock, fetch: fetcher, log: this.#log },
      { platform: this.#platform, mirrors: options.mirrors ?? {} },
    );
    this.#pieces = new ContainerPieces(
      {
        connection: this.#connection,
        program: this.#program,
        cgroups: this.#cgroups,
        ociRuntime: () => (this.#ociRuntime ??= ociRuntime()),
      },
      {
        namespace: this.#namespace,
        runDir: this.#runDir,
        dataDir: this.#dataDir,
        cgroupParent: this.#cgroupParent,
        architecture: this.#platform.architecture,
      },
    );
  }

  /**
   * Makes the records again of containers that run and that containerd has forgotten, as when its data was set aside:
   * their shims are there, so it has them back.
   */
  async restoreRecords(): Promise<void> {
    const { containers } = await this.#connection.unary(ContainersService.list, { filters: [] });
    const known = new Set(containers.map(({ id }) => id));
    for (const id of await this.#pieces.ids()) {
      if (known.has(id) || !(await this.#cgroups.hasProcesses(this.#pieces.cgroupPath(id)))) continue;
      const kept = await this.#pieces.directory(id).keptRecord();
      if (kept === undefined) continue;
      const made = this.#connection.unary(ContainersService.create, { container: Container.decode(kept) });
      await unless(made, "RUNTIME_ALREADY_EXISTS");
      this.#log.warn("a container that runs was forgotten by containerd, and is listed again", { id });
    }
  }

  async info(): Promise<RuntimeInfo> {
    const { version } = await this.#connection.unary(VersionService.version, {});
    return {
      version: `containerd ${version}`,
      ...this.#platform,
      ...(await (this.#ociRuntime ??= ociRuntime())),
      cpus: availableParallelism(),
      memoryBytes: totalmem(),
      cgroupVersion: this.#cgroups.version,
    };
  }

  resolveImage(ref: string, options: ResolveOptions = {}): Promise<ResolvedImage> {
    return this.#images.resolve(ref, options);
  }

  checkLogin(registry: string, auth: RegistryAuth, signal?: AbortSignal): Promise<boolean> {
    return this.#images.checkLogin(registry, auth, signal);
  }

  pull(ref: string, options: PullOptions = {}): Promise<PulledImage> {
    return this.#images.pull(ref, options);
  }

  inspectImage(ref: string): Promise<LocalImage> {
    return this.#images.inspect(ref);
  }

  images(): Promise<readonly Image[]> {
    return this.#images.list();
  }

  removeUnusedImages(keep: ReadonlySet<string>): Promise<readonly Image[]> {
    return this.#images.removeUnused(keep, async () => {
      const { containers } = await this.#connection.unary(ContainersService.list, { filters: [] });
      return containers.map(({ image }) => image);
    });
  }

  async create(spec: ContainerSpec): Promise<ContainerStatus> {
    checkContainerSpec(spec);
    const image = await this.#images.get(spec.image);
    return this.#byId.run(spec.id, async () => {
      if ((await this.#record(spec.id)) !== undefined)
        throw new RuntimeError(
          { code: "RUNTIME_ALREADY_EXISTS", id: spec.id },
          `there is a container "${spec.id}" already`,
        );
      try {
        const container = await this.#pieces.make(spec, image);
        await this.#pieces.directory(spec.id).keepRecord(Container.encode(container).finish());
        await this.#connection.unary(ContainersService.create, { container });
        // Nothing has run in it: its files need not be asked.
        return this.#statusOf(container, { kind: "created" });
      } catch (cause) {
        const error = this.#withDiskFull(cause);
        // The first failure is the one to throw; pieces that can't be removed now are found later (C1).
        await this.#pieces
          .remove(spec.id)
          .catch((also: unknown) =>
            this.#log.warn("pieces of a container that was not made are left", { id: spec.id, error: also }),
          );
        throw error;
      }
    });
  }

  /** Our own files of a container are on the same disk as containerd's, as a rule. */
  #withDiskFull(error: unknown): unknown {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (!["ENOSPC", "EDQUOT"].includes(code)) return error;
    return new RuntimeError({ code: "RUNTIME_DISK_FULL" }, `the disk of ${this.#dataDir} or ${this.#runDir} is full`, {
      cause: error,
    });
  }

  start(id: string): Promise<void> {
    return this.#byId.run(id, async () => {
      const record = await this.#recordOf(id);
      const state = await this.#state(record, await this.#task(id));
      if (state.kind !== "created") throw wrongState(id, state);
      const directory = this.#pieces.directory(id);
      const { mounts } = await this.#connection.unary(SnapshotsService.mounts, { snapshotter, key: id });
      await this.#cgroups.prepareParent(this.#cgroupParent, availableParallelism());
      this.#starting.add(id);
      await directory.markStarted();
      const { uri, tty } = JSON.parse(record.labels[logUriLabel] ?? "{}") as { uri?: string; tty?: boolean };
      const io = { stdin: "", stdout: uri ?? "", stderr: tty ? "" : (uri ?? ""), terminal: tty ?? false };
      try {
        await this.#connection.unary(TasksService.create, {
          containerId: id,
          rootfs: mounts,
          ...io,
          options: undefined,
        });
        await this.#connection.unary(TasksService.start, { containerId: id, execId: "" });
      } catch (error) {
        // A start that containerd refused did not happen; where containerd could not be asked, `list` will know.
        if (!RuntimeError.is(error, "RUNTIME_UNAVAILABLE")) {
          await this.#endTask(id);
          await directory.unmarkStarted();
        }
        throw error;
      } finally {
        this.#starting.delete(id);
      }
      await this.#cgroups.reservationsChanged(this.#cgroupParent);
    });
  }

  async kill(id: string, signal?: string): Promise<void> {
    const given = signal === undefined ? undefined : signalNumber(signal);
    const record = await this.#recordOf(id);
    // What a label says is no reason that a container can't be stopped.
    const number = given ?? stopSignalNumber(undefined, record.labels[stopSignalLabel]);
    // With `all` runc thaws a frozen container, in which no signal would arrive.
    const all = number === constants.signals.SIGKILL;
    await unless(
      this.#connection.unary(TasksService.kill, { containerId: id, execId: "", signal: number, all }),
      "RUNTIME_NOT_FOUND",
    );
  }

  async wait(id: string, signal?: AbortSignal): Promise<ExitStatus> {
    const ended = await unless(
      this.#connection.unary(TasksService.wait, { containerId: id, execId: "" }, { signal }),
      "RUNTIME_NOT_FOUND",
    ).catch((error: unknown) => {
      // Its shim was killed.
      if (RuntimeError.is(error, "RUNTIME_FAILED") && /ttrpc: /.test(error.message)) return undefined;
      throw error;
    });
    if (ended !== undefined) return this.#ended(id, ended.exitStatus, ended.exitedAt);
    const state = await this.#state(await this.#recordOf(id), undefined);
    if (state.kind === "exited") return state.exit;
    throw wrongState(id, state);
  }

  remove(id: string): Promise<void> {
    return this.#byId.run(id, async () => {
      await this.#endTask(id);
      // What containerd has forgotten, as when its data was set aside, runs on all the same.
      await this.#cgroups.endAll(this.#pieces.cgroupPath(id));
      await this.#pieces.remove(id);
      await unless(this.#connection.unary(ContainersService.delete, { id }), "RUNTIME_NOT_FOUND");
      await this.#cgroups.reservationsChanged(this.#cgroupParent);
    });
  }

  async list(): Promise<readonly ContainerStatus[]> {
    // Records first: one whose task is not in the list that is made later has none.
    const { containers } = await this.#connection.unary(ContainersService.list, { filters: [] });
    const { tasks } = await this.#connection.unary(TasksService.list, { filter: "" });
    const byId = new Map(tasks.map((task) => [task.id, task]));
    return Promise.all(containers.map((container) => this.#status(container, byId.get(container.id))));
  }

  async collectOrphans(keep: ReadonlySet<string>): Promise<readonly string[]> {
    const found = await this.#pieces.ids();
    const { containers } = await this.#connection.unary(ContainersService.list, { filters: [] });
    const { tasks } = await this.#connection.unary(TasksService.list, { filter: "" });
    for (const { id } of [...containers, ...tasks]) found.add(id);
    const orphans = [...found].filter((id) => !keep.has(id) && !this.#byId.has(id));
    await Promise.all(orphans.map((id) => this.remove(id)));
    await this.#endForeignExecs();
    const kept = new Set([...keep, ...(await this.list()).map(({ id }) => id)]);
    const isKept = (id: string): boolean => kept.has(id) || this.#byId.has(id);
    await this.#endForgottenShims();
    await this.#cgroups.removeLeftovers(this.#cgroupParent, isKept);
    // Nothing of ours is left to have one.
    if (kept.size === 0 && this.#byId.size === 0)
      await this.#cgroups.removeLeftovers("", (name) => name !== this.#cgroupParent);
    return orphans;
  }

  async *events(signal: AbortSignal): AsyncGenerator<ContainerEvent, void, void> {
    const ended = AbortSignal.any([signal, this.#closed.signal]);
    for await (const event of taskEvents(this.#connection, this.#namespace, ended)) {
      if (event.kind === "subscribed") {
        // containerd may have been away, and have taken up fewer shims than it had started.
        this.#endForgottenShims().catch((error: unknown) =>
          this.#log.debug("shims that containerd forgot may be left", { error }),
        );
        yield { kind: "lost" };
      } else if (event.kind !== "exited") yield event;
      else yield { kind: "exited", id: event.id, exit: await this.#ended(event.id, event.code, event.at) };
    }
  }

  async exec(id: string, spec: ExecSpec, streams: ExecStreams = {}, signal?: AbortSignal): Promise<ExecProcess> {
    signal?.throwIfAborted();
    const { record, pid } = await this.#running(id);
    const text = Buffer.from(record.spec?.value ?? []).toString();
    const user = spec.user === undefined ? undefined : await this.#userOf(spec.user, pid);
    const execId = newId(this.#random);
    const name = `${id}.${execId}`;
    this.#execs.add(name);
    const forget = (): void => void this.#execs.delete(name);
    const around = {
      connection: this.#connection,
      program: this.#program,
      directory: join(this.#runDir, "execs", name),
      containerId: id,
      execId,
      process: execProcess(text, spec, user),
      exitStatus: (code: number, at: Timestamp | undefined): Promise<ExitStatus> => this.#exit(id, code, at),
      endSession: (leader: number): Promise<void> => this.#cgroups.endSession(this.#pieces.cgroupPath(id), leader),
      endStuck: (over: AbortSignal): Promise<void> =>
        this.#cgroups.endStuckJoins(this.#pieces.cgroupPath(id), this.#clock, stuckMs, over),
      clock: this.#clock,
      log: this.#log,
    };
    const starting = startExec(around, spec, streams, signal);
    starting.then(({ exit }) => exit.then(forget, forget), forget);
    if (signal === undefined) return starting;
    // An exec that is aborted while it starts is ended as soon as it has started.
    starting.catch((error: unknown) => {
      if (signal.aborted && error !== signal.reason)
        this.#log.debug("a process that was given up did not start", { id, error });
    });
    return abortable(starting, signal);
  }

  async connect(id: string, port: number, signal?: AbortSignal): Promise<ContainerConnection> {
    signal?.throwIfAborted();
    await this.#running(id);
    const { netnsPath } = this.#pieces.directory(id);
    return connectTo(this.#program.path, { id, netnsPath, port }, signal);
  }

  /** Who a user is in a container that runs, whose files may change while they are read. */
  async #userOf(user: string, pid: number): Promise<ProcessUser> {
    return processUser(user, [], await readUserTables((path, most) => this.#program.readOfProcess(pid, path, most)));
  }

  async *logs(id: string, options: LogOptions = {}): AsyncGenerator<LogLine, void, void> {
    const signal = options.signal ? AbortSignal.any([options.signal, this.#closed.signal]) : this.#closed.signal;
    if (signal.aborted) return;
    await this.#recordOf(id);
    const log = new ContainerLog(this.#pieces.directory(id).logPath);
    if (!options.follow) {
      // What a process wrote last may still be on its way when its exit is known.
      if (await this.#hasEnded(id)) await log.settled(signal);
      yield* log.read({ ...options, signal });
      return;
    }
    const done = new AbortController();
    const settling = this.#settleAtEnd(id, log, AbortSignal.any([signal, done.signal]));
    try {
      yield* log.read({ ...options, signal });
    } finally {
      done.abort();
      await settling;
    }
  }

  /** Waits for the end of the container, whatever becomes of containerd meanwhile; then signals its logger. */
  async #settleAtEnd(id: string, log: ContainerLog, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        for await (const event of taskEvents(this.#connection, this.#namespace, signal)) {
          const ended =
            event.kind === "subscribed" ? await this.#hasEnded(id) : event.kind === "exited" && event.id === id;
          if (!ended) continue;
          await log.settle();
          return;
        }
      } catch (error) {
        if (!RuntimeError.is(error, "RUNTIME_UNAVAILABLE")) throw error;
      }
    }
  }

  async stats(id: string): Promise<ContainerStats> {
    await this.#running(id);
    const stats = await this.#cgroups.stats(this.#pieces.cgroupPath(id));
    if (stats === undefined) throw wrongState(id, { kind: "unknown", cause: "lost" });
    return stats;
  }

  async purge(): Promise<void> {
    await this.collectOrphans(new Set());
    await this.#images.purge();
    await this.#removeNamespace();
    await Promise.all([this.#runDir, this.#dataDir].map((path) => rm(path, { recursive: true, force: true })));
  }

  /** containerd keeps an empty namespace for ever, and refuses to remove one that is not. */
  async #removeNamespace(): Promise<void> {
    const request = this.#connection.unary(NamespacesService.delete, { name: this.#namespace });
    await unless(request, "RUNTIME_NOT_FOUND");
  }

  close(): Promise<void> {
    this.#closed.abort();
    this.#connection.close();
    this.#program.close();
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /**
   * Ends shims without a task. containerd forgets a shim that it had just started when it was killed; such a one waits
   * for ever, and its logger with it.
   */
  async #endForgottenShims(): Promise<void> {
    const of = [this.#address, this.#namespace] as const;
    const [shims, { tasks }] = [await shimsOf(...of), await this.#connection.unary(TasksService.list, { filter: "" })];
    const listed = new Set(tasks.map(({ id }) => id));
    const ending = shims
      .filter(({ id }) => !listed.has(id))
      .map(({ pid, id }) =>
        // In the container's turn, in which it is not being started; by then another process may have the number.
        this.#byId.run(id, async () => {
          if ((await this.#task(id)) === undefined && (await containerOfShim(pid, ...of)) === id)
            signalProcess(pid, "SIGKILL");
        }),
      );
    await Promise.all(ending);
  }

  async #endTask(id: string): Promise<void> {
    const backoff = new Backoff(this.#random, { baseMs: 20, maxMs: 1_000 });
    for (let tries = 1; ; tries += 1) {
      try {
        await this.#tryEndTask(id);
        return;
      } catch (error) {
        // It changed while we looked: containerd still clears away after a shim that died, or starts what a dead
        // worker asked for last. Neither has an event for its end.
        if (tries === endTries || !RuntimeError.is(error, "RUNTIME_FAILED")) throw error;
        await delay(systemClock, backoff.next(), this.#closed.signal);
      }
    }
  }

  async #tryEndTask(id: string): Promise<void> {
    const task = await this.#task(id);
    const ids = { containerId: id, execId: "" };
    if (task?.status === Status.RUNNING || task?.status === Status.PAUSED || task?.status === Status.PAUSING) {
      const kill = { ...ids, signal: constants.signals.SIGKILL, all: true };
      await unless(this.#connection.unary(TasksService.kill, kill), "RUNTIME_NOT_FOUND");
      await unless(this.#connection.unary(TasksService.wait, ids), "RUNTIME_NOT_FOUND");
    }
    // A task that is not listed may still have a shim, which was started for it when containerd was killed.
    await unless(this.#connection.unary(TasksService.delete, { containerId: id }), "RUNTIME_NOT_FOUND");
  }

  /** Execs that an earlier worker started: their output has no reader any more. */
  async #endForeignExecs(): Promise<void> {
    const folder = join(this.#runDir, "execs");
    for (const name of await namesIn(folder)) {
      if (this.#execs.has(name)) continue;
      const [containerId = "", execId = ""] = name.split(".");
      const ids = { containerId, execId };
      const found = await unless(this.#connection.unary(TasksService.get, ids), "RUNTIME_NOT_FOUND");
      if (found?.process?.pid) await this.#cgroups.endSession(this.#pieces.cgroupPath(containerId), found.process.pid);
      const kill = { ...ids, signal: constants.signals.SIGKILL, all: false };
      if ((await unless(this.#connection.unary(TasksService.kill, kill), "RUNTIME_NOT_FOUND")) !== undefined)
        await unless(this.#connection.unary(TasksService.wait, ids), "RUNTIME_NOT_FOUND");
      await unless(this.#connection.unary(TasksService.deleteProcess, ids), "RUNTIME_NOT_FOUND");
      await rm(join(folder, name), { recursive: true, force: true });
    }
  }

  /** The record and first process of one that runs. */
  async #running(id: string): Promise<{ readonly record: Container; readonly pid: number }> {
    const [record, task] = await Promise.all([this.#recordOf(id), this.#task(id)]);
    const state = await this.#state(record, task);
    if (state.kind !== "running") throw wrongState(id, state);
    return { record, pid: state.pid };
  }

  async #exit(id: string, code: number, at: Timestamp | undefined): Promise<ExitStatus> {
    const finishedAt = (at?.seconds ?? 0) * 1_000 + Math.floor((at?.nanos ?? 0) / 1e6);
    const killed = code === 128 + constants.signals.SIGKILL;
    return { code, oomKilled: killed && (await this.#cgroups.outOfMemory(this.#pieces.cgroupPath(id))), finishedAt };
  }

  /** How a container ended, kept from now on. */
  async #ended(id: string, code: number, at: Timestamp | undefined): Promise<ExitStatus> {
    const recording = this.#exits.get(id) ?? this.#recordExit(id, code, at);
    this.#exits.set(id, recording);
    try {
      return await recording;
    } finally {
      this.#exits.delete(id);
      this.#endShim(id);
    }
  }

  async #recordExit(id: string, code: number, at: Timestamp | undefined): Promise<ExitStatus> {
    const directory = this.#pieces.directory(id);
    const recorded = await directory.recordedExit();
    if (recorded !== undefined) return recorded;
    const exit = await this.#exit(id, code, at);
    await directory.recordExit(exit);
    return exit;
  }

  /** A container that has ended stays for its log, its shim does not; where this fails, the next `list` tries again. */
  #endShim(id: string): void {
    unless(this.#connection.unary(TasksService.delete, { containerId: id }), "RUNTIME_NOT_FOUND").catch(
      (error: unknown) => this.#log.debug("the shim of a container that ended was not ended", { id, error }),
    );
  }

  async #hasEnded(id: string): Promise<boolean> {
    const task = await this.#task(id);
    if (task !== undefined) return task.status === Status.STOPPED;
    return (await this.#pieces.directory(id).recordedExit()) !== undefined;
  }

  async #status(container: Container, task: Process | undefined): Promise<ContainerStatus> {
    return this.#statusOf(container, await this.#state(container, task));
  }

  #statusOf(container: Container, state: ContainerState): ContainerStatus {
    const { [stopSignalLabel]: _, [logUriLabel]: __, [bootLabel]: ___, ...labels } = container.labels;
    const { id, image } = container;
    return {
      id,
      image,
      labels,
      netnsPath: this.#pieces.directory(id).netnsPath,
      state,
    };
  }

  async #state({ id, labels: { [bootLabel]: boot } }: Container, task: Process | undefined): Promise<ContainerState> {
    switch (task?.status) {
      case Status.RUNNING:
      case Status.PAUSED:
      case Status.PAUSING:
        return { kind: "running", pid: task.pid, startedBootMs: await processStartMs(task.pid) };
      case Status.STOPPED:
        return { kind: "exited", exit: await this.#ended(id, task.exitStatus, task.exitedAt) };
      case undefined:
        if (this.#starting.has(id)) return { kind: "created" };
        return this.#stateWithoutTask(id, boot);
      default:
        // A start that was cut off, or a shim that does not answer.
        return this.#starting.has(id) ? { kind: "created" } : { kind: "unknown", cause: "lost" };
    }
  }

  async #stateWithoutTask(id: string, boot: string | undefined): Promise<ContainerState> {
    const directory = this.#pieces.directory(id);
    const exit = await directory.recordedExit();
    if (exit !== undefined) return { kind: "exited", exit };
    if (await directory.isFresh()) return { kind: "created" };
    return { kind: "unknown", cause: boot === this.#boot ? "lost" : "reboot" };
  }

  async #record(id: string): Promise<Container | undefined> {
    return (await unless(this.#connection.unary(ContainersService.get, { id }), "RUNTIME_NOT_FOUND"))?.container;
  }

  async #recordOf(id: string): Promise<Container> {
    const record = await this.#record(id);
    if (record !== undefined) return record;
    throw new RuntimeError({ code: "RUNTIME_NOT_FOUND", id }, `there is no container "${id}"`);
  }

  async #task(id: string): Promise<Process | undefined> {
    return (
      await unless(this.#connection.unary(TasksService.get, { containerId: id, execId: "" }), "RUNTIME_NOT_FOUND")
    )?.process;
  }
}

/** What runc says that it is, if it is where containerd looks for it. */
async function ociRuntime(): Promise<Pick<RuntimeInfo, "ociRuntime">> {
  const path = `${process.env["PATH"]}:/usr/sbin:/sbin`;
  try {
    const { stdout } = await promisify(execFile)("runc", ["--version"], { env: { ...process.env, PATH: path } });
    const [, version] = /^runc version (.*)$/m.exec(stdout) ?? [];
    const [, build] = /^commit: (.*)$/m.exec(stdout) ?? [];
    return version === undefined ? {} : { ociRuntime: `runc ${version}${build === undefined ? "" : ` (${build})`}` };
  } catch {
    return {}; // another runtime, or no permission; containers that don't start have the error
  }
}

function wrongState(id: string, { kind }: ContainerState): RuntimeError {
  return new RuntimeError({ code: "RUNTIME_WRONG_STATE", id, state: kind }, `container "${id}" is ${kind}`);
}

async function namesIn(folder: string): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  return readdir(folder);
}
