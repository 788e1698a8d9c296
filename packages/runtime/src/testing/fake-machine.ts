import { createHash } from "node:crypto";
import { abortable, Changes, systemBootClock, systemClock, type BootClock, type Clock } from "@warren/std";
import type { ContainerSpec } from "../container-spec.ts";
import { RuntimeError, type RuntimeFailure } from "../errors.ts";
import { parseReference } from "../reference.ts";
import { emptyImageConfig, type Image, type ImageConfig, type Platform } from "../image.ts";
import type {
  ContainerEvent,
  ContainerState,
  ContainerStats,
  ContainerStatus,
  LogLine,
  RegistryAuth,
  RuntimeInfo,
} from "../runtime.ts";
import { RunningProcess, type FakeProgram } from "./fake-process.ts";

/** The calls of a Runtime that a script can fail, hold and count. */
export type RuntimeCall =
  | "info"
  | "resolveImage"
  | "pull"
  | "images"
  | "inspectImage"
  | "removeUnusedImages"
  | "create"
  | "start"
  | "kill"
  | "wait"
  | "remove"
  | "list"
  | "collectOrphans"
  | "exec"
  | "logs"
  | "stats"
  | "purge";

/** Calls that wait, and the word for them to go on. */
export interface FakeHold {
  /** How many wait now. */
  readonly waiting: number;
  /** Lets those that wait go on, and later ones through. */
  release(): void;
}

export interface FakeMachineOptions {
  readonly clock?: Clock;
  /** @default the system's */
  readonly boot?: BootClock;
  readonly info?: Partial<RuntimeInfo>;
  /** What containers do. @default run until a signal ends them */
  readonly program?: FakeProgram;
}

/** An image in the fake registry. */
export interface Published {
  readonly image: Image;
  readonly auth: RegistryAuth | undefined;
  readonly config: ImageConfig;
  readonly platforms: readonly Platform[];
}

export interface PublishOptions {
  readonly digest?: string;
  /** Who may have it. */
  readonly auth?: RegistryAuth;
  readonly config?: Partial<ImageConfig>;
  /** @default the machine's */
  readonly platforms?: readonly Platform[];
}

/** The newest lines that a fake keeps of one container. */
const keptLines = 100_000;

export class FakeContainer {
  readonly spec: ContainerSpec;
  readonly image: string;
  readonly lines: LogLine[] = [];
  process: RunningProcess | undefined;
  startedBootMs: number | undefined;
  lost: "reboot" | "lost" | undefined;
  stats: ContainerStats | undefined;
  removed: boolean = false;
  readonly execs: Set<RunningProcess> = new Set();
  readonly #rest = { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) };
  /** Lines, the end, the removal. */
  readonly changes: Changes = new Changes();

  constructor(spec: ContainerSpec, image: string) {
    this.spec = spec;
    this.image = image;
  }

  get state(): ContainerState {
    if (this.lost !== undefined) return { kind: "unknown", cause: this.lost };
    if (this.process === undefined) return { kind: "created" };
    const { exitStatus, pid } = this.process;
    return exitStatus === undefined
      ? { kind: "running", pid, startedBootMs: this.startedBootMs }
      : { kind: "exited", exit: exitStatus };
  }

  write(at: number, stream: "stdout" | "stderr", data: Uint8Array): void {
    let rest = Buffer.concat([this.#rest[stream], data]);
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      this.lines.push({ at, stream, line: rest.subarray(0, end), partial: false });
      rest = rest.subarray(end + 1);
    }
    this.#rest[stream] = rest;
    this.lines.splice(0, this.lines.length - keptLines);
    this.changes.notify();
  }

  flush(at: number): void {
    for (const stream of ["stdout", "stderr"] as const)
      if (this.#rest[stream].length > 0) this.lines.push({ at, stream, line: this.#rest[stream], partial: true });
    this.changes.notify();
  }
}

/**
 * What a fake runtime runs on: containers, images, a registry and their faults. It outlives a FakeRuntime, as
 * containers outlive a worker, and is what a test's script works on.
 */
export class FakeMachine {
  readonly clock: Clock;
  readonly boot: BootClock;
  readonly info: RuntimeInfo;
  /** Plays what is started from now on. */
  program: FakeProgram;
  /** All calls since the beginning, in order; `subject` is a container's id or an image's name. */
  readonly calls: { readonly call: RuntimeCall; readonly subject: string }[] = [];
  readonly containers: Map<string, FakeContainer> = new Map();
  readonly images: Map<string, Image> = new Map();
  readonly #published = new Map<string, Published>();
  /** All that was ever published, by its content. */
  readonly #byDigest = new Map<string, Published>();
  readonly #withdrawn = new Set<string>();
  readonly #failures = new Map<RuntimeCall, { readonly failure: RuntimeFailure; times: number }>();
  readonly #holds = new Map<RuntimeCall, { waiting: number; readonly gate: PromiseWithResolvers<void> }>();
  readonly #listeners = new Set<(event: ContainerEvent | { readonly kind: "away" }) => void>();
  #back: PromiseWithResolvers<void> | undefined;
  #nextPid = 1000;

  constructor(options: FakeMachineOptions = {}) {
    this.clock = options.clock ?? systemClock;
    this.boot = options.boot ?? systemBootClock;
    this.program = options.program ?? ((): void => undefined);
    this.info = {
      version: "fake 1",
      os: "linux",
      architecture: "amd64",
      cpus: 4,
      memoryBytes: 8 * 2 ** 30,
      cgroupVersion: 2,
      ...options.info,
    };
  }

  /** Puts an image in the registry; with `auth`, for those who show it. A later one of the same name replaces it. */
  publish(ref: string, options: PublishOptions = {}): Image {
    const { full } = parseReference(ref);
    const digest = options.digest ?? `sha256:${createHash("sha256").update(full).digest("hex")}`;
    const image = { ref: full, digest };
    const { os, architecture } = this.info;
    const published = {
      image,
      auth: options.auth,
      config: { ...emptyImageConfig, ...options.config },
      platforms: options.platforms ?? [{ os, architecture }],
    };
    this.#published.set(full, published);
    this.#byDigest.set(digest, published);
    return image;
  }

  /** Takes an image out of the registry; what machines have stays. */
  unpublish(ref: string): void {
    const { full } = parseReference(ref);
    const digest = this.#published.get(full)?.image.digest;
    this.#published.delete(full);
    if (digest !== undefined) this.#withdrawn.add(digest);
  }

  /** What the registry has under a tag or a digest. */
  published(full: string): Published | undefined {
    const { digest } = parseReference(full);
    if (digest === undefined) return this.#published.get(full);
    return this.#withdrawn.has(digest) ? undefined : this.#byDigest.get(digest);
  }

  /** What is known of an image's content, whether or not a registry still has it. */
  content(digest: string): Published | undefined {
    return this.#byDigest.get(digest);
  }

  /** The next `times` such calls fail with this. */
  fail(call: RuntimeCall, failure: RuntimeFailure, times = 1): void {
    this.#failures.set(call, { failure, times });
  }

  /** Such calls wait, before they do anything, until released. */
  hold(call: RuntimeCall): FakeHold {
    const hold = { waiting: 0, gate: Promise.withResolvers<void>() };
    this.#holds.set(call, hold);
    return {
      get waiting() {
        return hold.waiting;
      },
      release: () => {
        if (this.#holds.get(call) === hold) this.#holds.delete(call);
        hold.gate.resolve();
      },
    };
  }

  /** The runtime is away: calls fail with `RUNTIME_UNAVAILABLE`, streams of events break; containers go on. */
  disconnect(): void {
    this.#back ??= Promise.withResolvers();
    for (const listener of this.#listeners) listener({ kind: "away" });
  }

  reconnect(): void {
    this.#back?.resolve();
    this.#back = undefined;
  }

  /** Ends a container's process. */
  exit(id: string, code: number): void {
    this.#running(id).exit(code);
  }

  /** Ends it for want of memory. */
  outOfMemory(id: string): void {
    this.#running(id).outOfMemory();
  }

  /** The runtime loses sight of it, as when its shim is killed. */
  lose(id: string): void {
    const container = this.#container(id);
    container.process?.exit(137);
    container.lost = "lost";
  }

  /** The machine goes down and comes back: what had not ended is `unknown`, and its exit is not known. */
  reboot(): void {
    this.disconnect();
    for (const container of this.containers.values()) {
      if (container.state.kind === "exited") continue;
      container.lost = "reboot";
      container.process = undefined;
      container.changes.notify();
    }
    this.reconnect();
  }

  write(id: string, stream: "stdout" | "stderr", data: string | Uint8Array): void {
    this.#container(id).write(this.clock.now(), stream, typeof data === "string" ? Buffer.from(data) : data);
  }

  setStats(id: string, stats: ContainerStats): void {
    this.#container(id).stats = stats;
  }

  /** What every call of a FakeRuntime begins with. */
  async enter(call: RuntimeCall, subject: string, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.calls.push({ call, subject });
    await Promise.resolve();
    const hold = this.#holds.get(call);
    if (hold !== undefined) {
      hold.waiting += 1;
      await abortable(hold.gate.promise, signal).finally(() => (hold.waiting -= 1));
    }
    if (this.#back !== undefined)
      throw new RuntimeError({ code: "RUNTIME_UNAVAILABLE" }, "the runtime can't be asked: it is away");
    const scripted = this.#failures.get(call);
    if (scripted === undefined) return;
    scripted.times -= 1;
    if (scripted.times <= 0) this.#failures.delete(call);
    throw new RuntimeError(scripted.failure, `${call} ${subject} fails, as scripted: ${scripted.failure.code}`);
  }

  /** Resolves when the runtime is there. */
  async present(signal: AbortSignal): Promise<void> {
    while (this.#back !== undefined) await abortable(this.#back.promise, signal);
  }

  listen(listener: (event: ContainerEvent | { readonly kind: "away" }) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  emit(event: ContainerEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  nextPid(): number {
    return this.#nextPid++;
  }

  status(container: FakeContainer): ContainerStatus {
    const { spec, image, state } = container;
    return { id: spec.id, image, labels: spec.labels ?? {}, state, netnsPath: `/run/fake/${spec.id}/netns` };
  }

  #container(id: string): FakeContainer {
    const container = this.containers.get(id);
    if (container === undefined) throw new Error(`the script names "${id}", and there is no such container`);
    return container;
  }

  #running(id: string): RunningProcess {
    const { process } = this.#container(id);
    if (process === undefined || process.exitStatus !== undefined)
      throw new Error(`the script ends "${id}", which does not run`);
    return process;
  }
}
