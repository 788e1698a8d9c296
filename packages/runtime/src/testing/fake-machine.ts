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
  PullProgress,
  RegistryAuth,
  RuntimeInfo,
} from "../runtime.ts";
import { RunningProcess, type FakeProgram } from "./fake-process.ts";

/** The calls of a Runtime that a test can fail, hold and count. */
export type RuntimeCall =
  | "info"
  | "resolveImage"
  | "checkLogin"
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
  | "connect"
  | "logs"
  | "stats"
  | "purge";

/** Held calls, and their release. */
export interface FakeHold {
  /** Number of calls that wait now. */
  readonly waiting: number;
  /** Releases them; later calls do not wait. */
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
  /** The login that a pull needs. */
  readonly auth?: RegistryAuth;
  readonly config?: Partial<ImageConfig>;
  /** @default the machine's */
  readonly platforms?: readonly Platform[];
}

/** Lines that a fake keeps of one container, the newest. */
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
 * The machine of a fake runtime: containers, images, a registry and their faults. It outlives a FakeRuntime, as
 * containers outlive a worker; tests script their events on it.
 */
export class FakeMachine {
  readonly clock: Clock;
  readonly boot: BootClock;
  readonly info: RuntimeInfo;
  /** The program of processes that are started from now on. */
  program: FakeProgram;
  /** All calls, in order; `subject` is a container's id or an image's name. */
  readonly calls: { readonly call: RuntimeCall; readonly subject: string }[] = [];
  readonly containers: Map<string, FakeContainer> = new Map();
  readonly images: Map<string, Image> = new Map();
  readonly #published = new Map<string, Published>();
  /** All published images, by digest. */
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

  /** Adds an image to the registry; with `auth`, pulls need this login. A later image of the same name replaces it. */
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

  /** Removes an image from the registry; local copies stay. */
  unpublish(ref: string): void {
    const { full } = parseReference(ref);
    const digest = this.#published.get(full)?.image.digest;
    this.#published.delete(full);
    if (digest !== undefined) this.#withdrawn.add(digest);
  }

  /** With which a registry gives its images, each once or more. */
  logins(registry: string): readonly RegistryAuth[] {
    return [...this.#published.values()].flatMap(({ image, auth }) =>
      auth !== undefined && parseReference(image.ref).registry === registry ? [auth] : [],
    );
  }

  /** The registry's image of a tag or digest. */
  published(full: string): Published | undefined {
    const { digest } = parseReference(full);
    if (digest === undefined) return this.#published.get(full);
    return this.#withdrawn.has(digest) ? undefined : this.#byDigest.get(digest);
  }

  /** An image by its digest, whether or not the registry still has it. */
  content(digest: string): Published | undefined {
    return this.#byDigest.get(digest);
  }

  /** Calls of `pull` that are under way, by what they report to. */
  readonly pulling: Set<(progress: PullProgress) => void> = new Set();

  /** All pulls that are under way report this. */
  pulled(progress: PullProgress): void {
    for (const report of this.pulling) report(progress);
  }

  /** The next `times` calls of that kind fail. */
  fail(call: RuntimeCall, failure: RuntimeFailure, times = 1): void {
    this.#failures.set(call, { failure, times });
  }

  /** Calls of that kind wait, before they have any effect, until released. */
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

  /** Makes the runtime unavailable: calls fail with `RUNTIME_UNAVAILABLE`, event streams break; containers go on. */
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

  /** Ends it as the kernel's out-of-memory killer does. */
  outOfMemory(id: string): void {
    this.#running(id).outOfMemory();
  }

  /** Makes its state `unknown`, as when its shim is killed. */
  lose(id: string): void {
    const container = this.#container(id);
    container.process?.exit(137);
    container.lost = "lost";
  }

  /** Reboots the machine: running containers become `unknown`. */
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

  /** Begins every call of a FakeRuntime. */
  async enter(call: RuntimeCall, subject: string, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.calls.push({ call, subject });
    await Promise.resolve();
    const hold = this.#holds.get(call);
    if (hold !== undefined) {
      hold.waiting += 1;
      await abortable(hold.gate.promise, signal).finally(() => (hold.waiting -= 1));
    }
    if (this.#back !== undefined) throw new RuntimeError({ code: "RUNTIME_UNAVAILABLE" }, "the runtime is unavailable");
    const scripted = this.#failures.get(call);
    if (scripted === undefined) return;
    scripted.times -= 1;
    if (scripted.times <= 0) this.#failures.delete(call);
    throw new RuntimeError(scripted.failure, `${call} ${subject} fails, as scripted: ${scripted.failure.code}`);
  }

  /** Resolves when the runtime is available. */
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
