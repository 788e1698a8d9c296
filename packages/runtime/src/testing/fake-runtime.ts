import { abortable, AsyncQueue } from "@warren/std";
import type { ContainerSpec } from "../container-spec.ts";
import { RuntimeError } from "../errors.ts";
import { parseReference, pinReference } from "../reference.ts";
import type { Image, LocalImage, PulledImage, ResolvedImage } from "../image.ts";
import type {
  ContainerEvent,
  Connection,
  ContainerStats,
  ContainerStatus,
  ExecProcess,
  ExecSpec,
  ExecStreams,
  ExitStatus,
  LogLine,
  LogOptions,
  PullOptions,
  PullProgress,
  RegistryAuth,
  ResolveOptions,
  Runtime,
  RuntimeInfo,
} from "../runtime.ts";
import { signalNumber, stopSignalNumber } from "../signals.ts";
import { checkContainerSpec } from "../spec-validation.ts";
import { FakeContainer, FakeMachine, type Published, type RuntimeCall } from "./fake-machine.ts";
import { RunningProcess } from "./fake-process.ts";

/** Size of an image, for `onProgress`. */
const imageBytes = 1_000_000;

/** A runtime in memory. Events are scripted on its `machine`; two runtimes with one machine share its containers. */
export class FakeRuntime implements Runtime {
  readonly machine: FakeMachine;
  readonly #closed = new AbortController();

  constructor(machine: FakeMachine = new FakeMachine()) {
    this.machine = machine;
  }

  async info(): Promise<RuntimeInfo> {
    await this.#enter("info", "");
    return this.machine.info;
  }

  async resolveImage(ref: string, options: ResolveOptions = {}): Promise<ResolvedImage> {
    const reference = parseReference(ref);
    const resolved = (digest: string, source: ResolvedImage["source"]): ResolvedImage => {
      const { platforms = [], config } = this.machine.content(digest) ?? {};
      return { ref: reference.full, digest, pinned: pinReference(reference, digest), source, platforms, config };
    };
    const present = this.#present(reference.full);
    if (present !== undefined && reference.digest !== undefined) {
      await this.#enter("resolveImage", reference.full, options.signal);
      return resolved(present.digest, { kind: "local" });
    }
    try {
      await this.#enter("resolveImage", reference.full, options.signal);
      return resolved(this.#published(reference.full, options).image.digest, { kind: "registry" });
    } catch (error) {
      const here = present ?? this.#pinnedUnder(reference.full);
      if (!(error instanceof RuntimeError && error.fromRegistry) || here === undefined) throw error;
      return resolved(here.digest, { kind: "local", because: error });
    }
  }

  async pull(ref: string, options: PullOptions = {}): Promise<PulledImage> {
    const { full, digest } = parseReference(ref);
    const present = this.#present(full);
    if (present !== undefined && digest !== undefined) {
      await this.#enter("pull", full, options.signal);
      this.machine.images.set(full, present);
      return { ...present, source: { kind: "local" } };
    }
    const report = (progress: PullProgress): void => options.onProgress?.(progress);
    this.machine.pulling.add(report);
    try {
      await this.#enter("pull", full, options.signal);
      const image = { ...this.#published(full, options).image, ref: full };
      if (present?.digest !== image.digest) options.onProgress?.({ doneBytes: imageBytes, totalBytes: imageBytes });
      this.machine.images.set(full, image);
      return { ...image, source: { kind: "registry" } };
    } catch (error) {
      const here = present ?? this.#pinnedUnder(full);
      if (!(error instanceof RuntimeError && error.fromRegistry) || here === undefined) throw error;
      this.machine.images.set(full, { ref: full, digest: here.digest });
      return { ref: full, digest: here.digest, source: { kind: "local", because: error } };
    } finally {
      this.machine.pulling.delete(report);
    }
  }

  /** As the images of the registry have it. */
  async checkLogin(registry: string, auth: RegistryAuth, signal?: AbortSignal): Promise<boolean> {
    const { registry: name } = parseReference(`${registry}/any`);
    await this.#enter("checkLogin", name, signal);
    const logins = this.machine.logins(name);
    const isKnown = logins.some(({ username, password }) => username === auth.username && password === auth.password);
    if (logins.length > 0 && !isKnown)
      throw new RuntimeError({ code: "RUNTIME_REGISTRY_UNAUTHORIZED", registry }, `${registry} refuses the login`);
    return logins.length > 0;
  }

  /** The local image of the name, or of its digest under any name. */
  #present(full: string): Image | undefined {
    const { digest } = parseReference(full);
    const named = this.machine.images.get(full);
    if (named !== undefined || digest === undefined) return named;
    const same = [...this.machine.images.values()].find((image) => image.digest === digest);
    return same && { ref: full, digest };
  }

  /** The last that was brought by the tag and a digest. */
  #pinnedUnder(full: string): Image | undefined {
    return [...this.machine.images.values()].findLast(({ ref }) => ref.startsWith(`${full}@`));
  }

  #published(full: string, { auth: given }: ResolveOptions): Published {
    const { registry } = parseReference(full);
    const published = this.machine.published(full);
    if (published === undefined)
      throw new RuntimeError({ code: "RUNTIME_IMAGE_NOT_FOUND", ref: full }, `${registry} has no ${full}`);
    const { auth } = published;
    if (auth && (given?.username !== auth.username || given.password !== auth.password))
      throw new RuntimeError({ code: "RUNTIME_REGISTRY_UNAUTHORIZED", registry }, `${registry} needs a login`);
    return published;
  }

  async inspectImage(ref: string): Promise<LocalImage> {
    const { full } = parseReference(ref);
    await this.#enter("inspectImage", full);
    const image = this.machine.images.get(full);
    const { platforms: [platform] = [], config } = this.machine.content(image?.digest ?? "") ?? {};
    if (image === undefined || platform === undefined || config === undefined)
      throw new RuntimeError({ code: "RUNTIME_IMAGE_NOT_FOUND", ref: full }, `${full} is not on this machine`);
    return { ...image, platform, config, sizeBytes: JSON.stringify(config).length };
  }

  async images(): Promise<readonly Image[]> {
    await this.#enter("images", "");
    return [...this.machine.images.values()];
  }

  async removeUnusedImages(keep: ReadonlySet<string>): Promise<readonly Image[]> {
    await this.#enter("removeUnusedImages", "");
    const used = new Set([...keep].map((ref) => parseReference(ref).full));
    for (const { image } of this.machine.containers.values()) used.add(image);
    const removed = [...this.machine.images.values()].filter(({ ref }) => !used.has(ref));
    for (const { ref } of removed) this.machine.images.delete(ref);
    return removed;
  }

  async create(spec: ContainerSpec): Promise<ContainerStatus> {
    checkContainerSpec(spec);
    const { full } = parseReference(spec.image);
    await this.#enter("create", spec.id);
    if (!this.machine.images.has(full))
      throw new RuntimeError({ code: "RUNTIME_IMAGE_NOT_FOUND", ref: full }, `${full} is not on this machine`);
    if (this.machine.containers.has(spec.id))
      throw new RuntimeError({ code: "RUNTIME_ALREADY_EXISTS", id: spec.id }, `container "${spec.id}" exists already`);
    const container = new FakeContainer(spec, full);
    this.machine.containers.set(spec.id, container);
    return this.machine.status(container);
  }

  async start(id: string): Promise<void> {
    await this.#enter("start", id);
    const container = this.#container(id);
    if (container.state.kind !== "created") throw wrongState(container);
    const { machine } = this;
    const args = [...(container.spec.command ?? []), ...(container.spec.args ?? [])];
    const process = new RunningProcess(
      { container: container.spec, exec: undefined, args, stdin: nothing(), pid: machine.nextPid() },
      () => machine.clock.now(),
      (stream, data) => Promise.resolve(container.write(machine.clock.now(), stream, data)),
    );
    container.process = process;
    container.startedBootMs = machine.boot.bootTime().elapsedMs;
    machine.emit({ kind: "started", id, pid: process.pid });
    void process.ended.then((exit) => {
      for (const exec of container.execs) exec.exit(137);
      container.flush(exit.finishedAt);
      if (exit.oomKilled) machine.emit({ kind: "oom", id });
      machine.emit({ kind: "exited", id, exit });
    });
    machine.program(process);
  }

  async kill(id: string, signal?: string): Promise<void> {
    if (signal !== undefined) signalNumber(signal);
    await this.#enter("kill", id);
    const container = this.#container(id);
    const image = this.machine.images.get(container.image);
    const { stopSignal } = this.machine.content(image?.digest ?? "")?.config ?? {};
    container.process?.signal(signal ?? String(stopSignalNumber(container.spec.stopSignal, stopSignal)));
  }

  async wait(id: string, signal?: AbortSignal): Promise<ExitStatus> {
    await this.#enter("wait", id, signal);
    const container = this.#container(id);
    if (container.process === undefined) throw wrongState(container);
    return abortable(container.process.ended, signal);
  }

  async remove(id: string): Promise<void> {
    await this.#enter("remove", id);
    this.#drop(id);
  }

  async list(): Promise<readonly ContainerStatus[]> {
    await this.#enter("list", "");
    return [...this.machine.containers.values()].map((container) => this.machine.status(container));
  }

  async collectOrphans(keep: ReadonlySet<string>): Promise<readonly string[]> {
    await this.#enter("collectOrphans", "");
    const orphans = [...this.machine.containers.keys()].filter((id) => !keep.has(id));
    for (const id of orphans) this.#drop(id);
    return orphans;
  }

  async *events(signal: AbortSignal): AsyncGenerator<ContainerEvent, void, void> {
    const ended = AbortSignal.any([signal, this.#closed.signal]);
    const queue = new AsyncQueue<ContainerEvent>();
    const close = (): void => queue.close();
    ended.addEventListener("abort", close, { once: true });
    let forget = (): void => undefined;
    try {
      await this.machine.present(ended);
      forget = this.machine.listen((event) => {
        if (event.kind === "away")
          queue.fail(new RuntimeError({ code: "RUNTIME_UNAVAILABLE" }, "the runtime became unavailable"));
        else queue.push(event);
      });
      yield { kind: "lost" };
      yield* queue;
    } catch (error) {
      if (!ended.aborted) throw error;
    } finally {
      forget();
      ended.removeEventListener("abort", close);
    }
  }

  async exec(id: string, spec: ExecSpec, streams: ExecStreams = {}, signal?: AbortSignal): Promise<ExecProcess> {
    await this.#enter("exec", id, signal);
    const container = this.#container(id);
    if (container.state.kind !== "running") throw wrongState(container);
    const writers = { stdout: streams.stdout?.getWriter(), stderr: streams.stderr?.getWriter() };
    let written: Promise<unknown> = Promise.resolve();
    const process = new RunningProcess(
      {
        container: container.spec,
        exec: spec,
        args: spec.args,
        stdin: streams.stdin ?? nothing(),
        pid: this.machine.nextPid(),
      },
      () => this.machine.clock.now(),
      (stream, data) => {
        // A reader that has gone does not affect the process.
        const next = written.then(() => writers[stream]?.write(data)).catch(() => undefined);
        written = next;
        return next;
      },
    );
    container.execs.add(process);
    const giveUp = (): void => process.exit(137);
    signal?.addEventListener("abort", giveUp, { once: true });
    const exit = process.ended.then(async (status) => {
      signal?.removeEventListener("abort", giveUp);
      container.execs.delete(process);
      signal?.throwIfAborted();
      await written;
      await Promise.allSettled([writers.stdout?.close(), writers.stderr?.close()]);
      return status;
    });
    exit.catch(() => undefined); // a caller may await it later or never
    this.machine.program(process);
    return {
      exit,
      resize: async (columns, rows) => process.resize(columns, rows),
      signal: async (name) => process.signal(name),
    };
  }

  async connect(id: string, port: number, signal?: AbortSignal): Promise<Connection> {
    await this.#enter("connect", id, signal);
    const container = this.#container(id);
    if (container.state.kind !== "running") throw wrongState(container);
    const accept = container.process?.listeners.get(port);
    if (accept === undefined)
      throw new RuntimeError({ code: "RUNTIME_PORT_CLOSED", id, port }, `nothing listens on port ${port} of ${id}`);
    const [out, back] = [new TransformStream<Uint8Array, Uint8Array>(), new TransformStream<Uint8Array, Uint8Array>()];
    accept({ readable: out.readable, writable: back.writable });
    const end = ({ writable }: typeof out): void => void writable.abort(signal?.reason).catch(() => undefined);
    signal?.addEventListener("abort", () => [out, back].forEach(end), { once: true });
    return { readable: back.readable, writable: out.writable };
  }

  async *logs(id: string, options: LogOptions = {}): AsyncGenerator<LogLine, void, void> {
    const { follow = false, since = Number.NEGATIVE_INFINITY, tail, signal } = options;
    if (signal?.aborted) return;
    await this.#enter("logs", id);
    const container = this.#container(id);
    const wanted = container.lines.filter(({ at }) => at >= since);
    let next: LogLine | undefined;
    let last = container.lines.at(-1);
    yield* tail === undefined ? wanted : wanted.slice(Math.max(0, wanted.length - tail));
    if (!follow) return;
    const ended = signal ? AbortSignal.any([signal, this.#closed.signal]) : this.#closed.signal;
    try {
      for (;;) {
        ended.throwIfAborted();
        const seen = container.changes.count;
        for (let at = last === undefined ? 0 : container.lines.lastIndexOf(last) + 1; ; at += 1) {
          next = container.lines[at];
          if (next === undefined) break;
          last = next;
          if (next.at >= since) yield next;
        }
        if (container.removed || container.state.kind === "exited" || container.state.kind === "unknown") return;
        await container.changes.after(seen, ended);
      }
    } catch (error) {
      if (!ended.aborted) throw error;
    }
  }

  async stats(id: string): Promise<ContainerStats> {
    await this.#enter("stats", id);
    const container = this.#container(id);
    if (container.state.kind !== "running") throw wrongState(container);
    return (
      container.stats ?? {
        cpuUsageNs: 1_000_000n,
        memoryBytes: 1_000_000,
        memoryLimitBytes: container.spec.resources?.memoryLimitBytes,
        pids: 1,
        readBytes: 0n,
        writeBytes: 0n,
      }
    );
  }

  async purge(): Promise<void> {
    await this.#enter("purge", "");
    for (const id of this.machine.containers.keys()) this.#drop(id);
    this.machine.images.clear();
  }

  close(): Promise<void> {
    this.#closed.abort();
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #drop(id: string): void {
    const container = this.machine.containers.get(id);
    if (container === undefined) return;
    container.process?.exit(137);
    container.removed = true;
    this.machine.containers.delete(id);
    container.changes.notify();
  }

  async #enter(call: RuntimeCall, subject: string, signal?: AbortSignal): Promise<void> {
    await this.machine.enter(call, subject, signal);
  }

  #container(id: string): FakeContainer {
    const container = this.machine.containers.get(id);
    if (container === undefined)
      throw new RuntimeError({ code: "RUNTIME_NOT_FOUND", id }, `there is no container "${id}"`);
    return container;
  }
}

function wrongState({ spec: { id }, state }: FakeContainer): RuntimeError {
  return new RuntimeError({ code: "RUNTIME_WRONG_STATE", id, state: state.kind }, `"${id}" is ${state.kind}`);
}

async function* nothing(): AsyncGenerator<Uint8Array, void, void> {}
