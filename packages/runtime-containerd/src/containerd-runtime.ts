import { access } from "node:fs/promises";
import { availableParallelism, constants, machine, totalmem } from "node:os";
import { silentLogger, systemRandom, type Logger, type Random } from "@warren/std";
import {
  RuntimeError,
  type ContainerEvent,
  type ContainerSpec,
  type ContainerState,
  type ContainerStatus,
  type ExitStatus,
  type Image,
  type PullOptions,
  type Runtime,
  type RuntimeInfo,
} from "@warren/runtime";
import { Connection, unless } from "./connection.ts";
import { ContainerDirectory } from "./container-directory.ts";
import { ContainersService, type Container } from "./generated/containerd/containers.ts";
import { EventsService, TaskExit, TaskOOM, TaskStart, type Envelope } from "./generated/containerd/events.ts";
import { SnapshotsService } from "./generated/containerd/snapshots.ts";
import { Status, TasksService, type Process } from "./generated/containerd/tasks.ts";
import { VersionService } from "./generated/containerd/version.ts";
import type { Timestamp } from "./generated/google/protobuf/timestamp.ts";
import { ImageStore, snapshotter } from "./image-store.ts";
import { ociSpec } from "./oci-spec.ts";
import { processUser } from "./process-user.ts";

export interface ContainerdDependencies {
  readonly log?: Logger;
  readonly random?: Random;
  /** How registries are reached. @default the global `fetch` */
  readonly fetch?: typeof fetch;
}

export interface ContainerdOptions {
  /** containerd's socket. @default "/run/containerd/containerd.sock" */
  readonly address?: string;
  /** containerd's namespace, ours alone. @default "warren" */
  readonly namespace?: string;
  /** Where containers' network namespaces and small files are; on a tmpfs, so that a reboot clears it. @default "/run/warren/runtime" */
  readonly runDir?: string;
}

/** The part of the seam that is here. The rest (exec, logs, stats, collecting images) is absent, not faked. */
export type ContainerdRuntimePart = Pick<
  Runtime,
  | "info"
  | "pull"
  | "images"
  | "create"
  | "start"
  | "kill"
  | "wait"
  | "remove"
  | "list"
  | "events"
  | "close"
  | typeof Symbol.asyncDispose
>;

const specType = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
const shim = "io.containerd.runc.v2";
const stopSignalLabel = "warren.stop-signal";

/** Connects to a containerd that runs. @throws RuntimeError `RUNTIME_UNAVAILABLE` */
export async function connectContainerd(
  dependencies: ContainerdDependencies = {},
  options: ContainerdOptions = {},
): Promise<ContainerdRuntimePart> {
  const runtime = new ContainerdRuntime(dependencies, options);
  try {
    await runtime.info();
    return runtime;
  } catch (error) {
    await runtime.close();
    throw error;
  }
}

class ContainerdRuntime implements ContainerdRuntimePart {
  readonly #connection: Connection;
  readonly #images: ImageStore;
  readonly #namespace: string;
  readonly #runDir: string;
  readonly #architecture: string;
  readonly #log: Logger;
  /** Containers that the kernel ran out of memory for, by events; an exit that follows is told as that. */
  readonly #outOfMemory = new Set<string>();

  constructor(
    { log = silentLogger, random = systemRandom, fetch: fetcher = fetch }: ContainerdDependencies,
    options: ContainerdOptions,
  ) {
    this.#namespace = options.namespace ?? "warren";
    this.#runDir = options.runDir ?? "/run/warren/runtime";
    this.#log = log.child({ component: "runtime-containerd" });
    this.#connection = new Connection(options.address ?? "/run/containerd/containerd.sock", this.#namespace);
    this.#architecture = machine() === "aarch64" ? "arm64" : "amd64";
    this.#images = new ImageStore(this.#connection, this.#architecture, random, fetcher);
  }

  async info(): Promise<RuntimeInfo> {
    const { version } = await this.#connection.unary(VersionService.version, {});
    const unified = await access("/sys/fs/cgroup/cgroup.controllers").then(
      () => true,
      () => false,
    );
    return {
      version: `containerd ${version}`,
      os: "linux",
      architecture: this.#architecture,
      cpus: availableParallelism(),
      memoryBytes: totalmem(),
      cgroupVersion: unified ? 2 : 1,
    };
  }

  pull(ref: string, options: PullOptions = {}): Promise<Image> {
    return this.#images.pull(ref, options);
  }

  images(): Promise<readonly Image[]> {
    return this.#images.list();
  }

  async create(spec: ContainerSpec): Promise<ContainerStatus> {
    check(spec);
    const image = await this.#images.get(spec.image);
    const { id } = spec;
    const taken = await unless(this.#connection.unary(ContainersService.get, { id }), "RUNTIME_NOT_FOUND");
    if (taken !== undefined)
      throw new RuntimeError({ code: "RUNTIME_ALREADY_EXISTS", id }, `there is a container "${id}" already`);
    const directory = new ContainerDirectory(this.#runDir, id);
    return this.#images.lease(async (lease) => {
      try {
        const { mounts } = await this.#connection.unary(
          SnapshotsService.prepare,
          { snapshotter, key: id, parent: image.chainId, labels: {} },
          { lease },
        );
        const user = await processUser(spec.user ?? image.config.config?.User ?? "", spec.groups ?? [], mounts);
        const files = await directory.make(spec);
        const oci = await ociSpec(spec, image.config, {
          architecture: this.#architecture,
          netnsPath: directory.netnsPath,
          cgroupsPath: `/${this.#namespace}/${id}`,
          user,
          files,
        });
        const container: Container = {
          id,
          labels: {
            ...spec.labels,
            [stopSignalLabel]: spec.stopSignal ?? image.config.config?.StopSignal ?? "SIGTERM",
          },
          image: image.ref,
          runtime: { name: shim, options: undefined },
          spec: { typeUrl: specType, value: Buffer.from(JSON.stringify(oci)) },
          snapshotter,
          snapshotKey: id,
        };
        await this.#connection.unary(ContainersService.create, { container });
        return this.#status(container, undefined);
      } catch (error) {
        await this.remove(id);
        throw error;
      }
    });
  }

  async start(id: string): Promise<void> {
    const { mounts } = await this.#connection.unary(SnapshotsService.mounts, { snapshotter, key: id });
    const none = { stdin: "", stdout: "", stderr: "", terminal: false, options: undefined };
    await this.#connection.unary(TasksService.create, { containerId: id, rootfs: mounts, ...none });
    await this.#connection.unary(TasksService.start, { containerId: id, execId: "" });
  }

  async kill(id: string, signal?: string): Promise<void> {
    const container = await this.#container(id);
    const number = signalNumber(signal ?? container.labels[stopSignalLabel] ?? "SIGTERM");
    await unless(
      this.#connection.unary(TasksService.kill, { containerId: id, execId: "", signal: number, all: false }),
      "RUNTIME_NOT_FOUND",
    );
  }

  async wait(id: string, signal?: AbortSignal): Promise<ExitStatus> {
    const { exitStatus, exitedAt } = await this.#connection.unary(
      TasksService.wait,
      { containerId: id, execId: "" },
      signal && { signal },
    );
    return this.#exit(id, exitStatus, exitedAt);
  }

  async remove(id: string): Promise<void> {
    const task = await this.#task(id);
    if (task !== undefined) {
      const ended = this.#connection.unary(TasksService.wait, { containerId: id, execId: "" });
      if (task.status === Status.RUNNING || task.status === Status.PAUSED) {
        const all = { containerId: id, execId: "", signal: constants.signals.SIGKILL, all: true };
        await unless(this.#connection.unary(TasksService.kill, all), "RUNTIME_NOT_FOUND");
      }
      if (task.status !== Status.CREATED) await unless(ended, "RUNTIME_NOT_FOUND");
      else ended.catch((error: unknown) => this.#log.debug("wait for a task that never ran ended", { id, error }));
      await unless(this.#connection.unary(TasksService.delete, { containerId: id }), "RUNTIME_NOT_FOUND");
    }
    await unless(this.#connection.unary(ContainersService.delete, { id }), "RUNTIME_NOT_FOUND");
    await unless(this.#connection.unary(SnapshotsService.remove, { snapshotter, key: id }), "RUNTIME_NOT_FOUND");
    await new ContainerDirectory(this.#runDir, id).remove();
    this.#outOfMemory.delete(id);
  }

  async list(): Promise<readonly ContainerStatus[]> {
    const { containers } = await this.#connection.unary(ContainersService.list, { filters: [] });
    const { tasks } = await this.#connection.unary(TasksService.list, { filter: "" });
    const byId = new Map(tasks.map((task) => [task.id, task]));
    return containers.map((container) => this.#status(container, byId.get(container.id)));
  }

  async *events(signal: AbortSignal): AsyncGenerator<ContainerEvent, void, void> {
    const filters = ["start", "exit", "oom"].map((what) => `namespace==${this.#namespace},topic=="/tasks/${what}"`);
    const stream = this.#connection.serverStream(EventsService.subscribe, { filters }, signal);
    const first = stream.next();
    yield { kind: "lost" };
    for (let step = await first; !step.done; step = await stream.next()) {
      const event = this.#event(step.value);
      if (event !== undefined) yield event;
    }
  }

  close(): Promise<void> {
    this.#connection.close();
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #event({ topic, event }: Envelope): ContainerEvent | undefined {
    const value = event?.value ?? new Uint8Array();
    switch (topic) {
      case "/tasks/start": {
        const { containerId, pid } = TaskStart.decode(value);
        return { kind: "started", id: containerId, pid };
      }
      case "/tasks/oom": {
        const { containerId } = TaskOOM.decode(value);
        this.#outOfMemory.add(containerId);
        return { kind: "oom", id: containerId };
      }
      case "/tasks/exit": {
        const { containerId, id, exitStatus, exitedAt } = TaskExit.decode(value);
        // Another id is that of a process beside the first.
        return id === containerId ? { kind: "exited", id, exit: this.#exit(id, exitStatus, exitedAt) } : undefined;
      }
      default:
        return undefined;
    }
  }

  #exit(id: string, code: number, at: Timestamp | undefined): ExitStatus {
    const finishedAt = (at?.seconds ?? 0) * 1_000 + Math.floor((at?.nanos ?? 0) / 1e6);
    return { code, oomKilled: code === 137 && this.#outOfMemory.has(id), finishedAt };
  }

  #status(container: Container, task: Process | undefined): ContainerStatus {
    const { [stopSignalLabel]: _, ...labels } = container.labels;
    const { netnsPath } = new ContainerDirectory(this.#runDir, container.id);
    return { id: container.id, image: container.image, labels, netnsPath, state: this.#state(task) };
  }

  #state(task: Process | undefined): ContainerState {
    switch (task?.status) {
      case undefined:
      case Status.CREATED:
        return { kind: "created" };
      case Status.RUNNING:
      case Status.PAUSED:
      case Status.PAUSING:
        return { kind: "running", pid: task.pid };
      case Status.STOPPED:
        return { kind: "exited", exit: this.#exit(task.id, task.exitStatus, task.exitedAt) };
      default:
        return { kind: "unknown" };
    }
  }

  async #container(id: string): Promise<Container> {
    const found = await unless(this.#connection.unary(ContainersService.get, { id }), "RUNTIME_NOT_FOUND");
    if (found?.container === undefined)
      throw new RuntimeError({ code: "RUNTIME_NOT_FOUND", id }, `there is no container "${id}"`);
    return found.container;
  }

  async #task(id: string): Promise<Process | undefined> {
    return (
      await unless(this.#connection.unary(TasksService.get, { containerId: id, execId: "" }), "RUNTIME_NOT_FOUND")
    )?.process;
  }
}

/** What can't be done is refused before anything is made. */
function check(spec: ContainerSpec): void {
  const refuse = (field: string, why: string): never => {
    throw new RuntimeError({ code: "RUNTIME_SPEC_INVALID", field }, `${field}: ${why}`);
  };
  if (!/^[a-z0-9](?:[a-z0-9-]{0,74}[a-z0-9])?$/.test(spec.id))
    refuse("id", `"${spec.id}" is not 1 to 76 of a-z, 0-9 and inner dashes`);
  if (spec.tty) refuse("tty", "this runtime gives no terminal");
  if (spec.init) refuse("init", "this runtime brings no init");
  if (spec.workingDir !== undefined && !spec.workingDir.startsWith("/"))
    refuse("workingDir", "must be an absolute path");
  if (spec.stopSignal !== undefined) signalNumber(spec.stopSignal);
}

/** @throws RuntimeError `RUNTIME_SPEC_INVALID` */
function signalNumber(signal: string): number {
  const name = signal.toUpperCase().startsWith("SIG") ? signal.toUpperCase() : `SIG${signal.toUpperCase()}`;
  const number = /^\d+$/.test(signal) ? Number(signal) : constants.signals[name as NodeJS.Signals];
  if (number !== undefined && number > 0 && number < 65) return number;
  throw new RuntimeError({ code: "RUNTIME_SPEC_INVALID", field: "stopSignal" }, `"${signal}" is no signal`);
}
