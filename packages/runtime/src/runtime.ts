import type { ContainerSpec } from "./container-spec.ts";
import type { Image, LocalImage, PulledImage, ResolvedImage } from "./image.ts";

export interface RuntimeInfo {
  /** Of the runtime: `containerd 1.6.20`. */
  readonly version: string;
  /** In OCI's words: `linux`, `amd64`. */
  readonly os: string;
  readonly architecture: string;
  /** As in `Platform`; undefined where the machine's is not known. */
  readonly variant?: string;
  /**
   * The program that makes containers, and its build where it says one: `runc 1.1.5+ds1 (1.1.5+ds1-1+deb12u1)`.
   * Undefined where it could not be asked.
   */
  readonly ociRuntime?: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly cgroupVersion: 1 | 2;
}

export interface RegistryAuth {
  readonly username: string;
  readonly password: string;
}

export interface PullProgress {
  /** Bytes of layers that are here, of those that the image needs. */
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface ResolveOptions {
  readonly auth?: RegistryAuth;
  readonly signal?: AbortSignal;
}

export interface PullOptions extends ResolveOptions {
  readonly onProgress?: (progress: PullProgress) => void;
}

/** How a container or a process in it ended. */
export interface ExitStatus {
  /** 128 + n for one that signal n ended. */
  readonly code: number;
  /** Whether the kernel ended it for want of memory, as opposed to other kills. */
  readonly oomKilled: boolean;
  /** Wall time, ms since 1970. */
  readonly finishedAt: number;
}

/**
 * `created`: network namespace and root are there, nothing runs. `unknown`: nobody knows how it ended; it can only be
 * removed. Of `reboot` the machine went down with it, so it is no failure of the container's; of `lost` the runtime lost
 * sight of it (its shim was killed).
 */
export type ContainerState =
  | { readonly kind: "created" }
  | {
      readonly kind: "running";
      readonly pid: number;
      /** When its process began, ms since the machine's boot; undefined where the runtime does not know it. */
      readonly startedBootMs?: number | undefined;
    }
  | { readonly kind: "exited"; readonly exit: ExitStatus }
  | { readonly kind: "unknown"; readonly cause: "reboot" | "lost" };

export interface ContainerStatus {
  readonly id: string;
  readonly image: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly state: ContainerState;
  /**
   * The container's network namespace, there from `create` to `remove`: it is wired before the process runs and
   * outlives it.
   */
  readonly netnsPath: string;
}

/**
 * `lost` says that events may have been missed (the runtime was away): look at `list()`. It comes first on every
 * stream, so a reader has one way of starting and of recovering.
 */
export type ContainerEvent =
  | { readonly kind: "lost" }
  | { readonly kind: "started"; readonly id: string; readonly pid: number }
  | { readonly kind: "oom"; readonly id: string }
  | { readonly kind: "exited"; readonly id: string; readonly exit: ExitStatus };

export interface ExecSpec {
  readonly args: readonly string[];
  /** Added to the container's. */
  readonly env?: Readonly<Record<string, string>>;
  /** @default the container's */
  readonly user?: string;
  /** @default the container's */
  readonly workingDir?: string;
  readonly tty?: boolean;
}

/** With `tty` all output is on `stdout`. A reader that is slow slows the process, never this one's memory. */
export interface ExecStreams {
  readonly stdin?: ReadableStream<Uint8Array>;
  readonly stdout?: WritableStream<Uint8Array>;
  readonly stderr?: WritableStream<Uint8Array>;
}

export interface ExecProcess {
  /** Resolves when the process ended and all its output was written; rejects with the reason once `signal` aborted. */
  readonly exit: Promise<ExitStatus>;
  resize(columns: number, rows: number): Promise<void>;
  /** KILL goes to all that the process has started and that is still of its session; other signals to it alone. */
  signal(signal: string): Promise<void>;
}

/** A line of at most so many bytes comes in one piece. */
export const wholeLineBytes: number = 256 * 1024;

export interface LogLine {
  /** Wall time at which the line's end was read, ms since 1970, with a fraction where the runtime knows it. */
  readonly at: number;
  readonly stream: "stdout" | "stderr";
  /** Without its line feed; bytes, since a container may write anything. */
  readonly line: Uint8Array;
  /**
   * No line feed came after it: it was the last thing written, or the line is longer than a runtime holds at once
   * (`wholeLineBytes` at least) and goes on in the stream's next one.
   */
  readonly partial: boolean;
}

export interface LogOptions {
  /** Go on with lines that come later, until the container has ended or is removed, or `signal` aborts. */
  readonly follow?: boolean;
  /** Only lines at or after, ms since 1970. */
  readonly since?: number;
  /** Only the last so many of those there are. */
  readonly tail?: number;
  readonly signal?: AbortSignal;
}

export interface ContainerStats {
  readonly cpuUsageNs: bigint;
  readonly memoryBytes: number;
  /** Undefined where there is no limit. */
  readonly memoryLimitBytes: number | undefined;
  readonly pids: number;
  readonly readBytes: bigint;
  readonly writeBytes: bigint;
}

/**
 * A container runtime, as a worker uses it. Every call may throw `RuntimeError`; `RUNTIME_UNAVAILABLE` means that the
 * runtime could not be asked and the outcome is unknown.
 *
 * What it promises, and the contract suite checks:
 *
 * I1 `create` either makes all of a container or leaves nothing of it.
 * I2 `remove` leaves nothing: no process, root, mount, namespace or log. Removing what is not there is not an error.
 * I3 Containers outlive this object and its process; `list` finds them again, those that ended while it was away
 *    with their exit.
 * I4 A container is never held up by a reader of its logs, or by there being none.
 */
export interface Runtime extends AsyncDisposable {
  info(): Promise<RuntimeInfo>;

  /**
   * What `ref` means now, by the registry; where that can't or won't answer, what is here under the name, with the
   * registry's failure. Fetches no layers. A reference with a digest that is here asks nobody.
   */
  resolveImage(ref: string, options?: ResolveOptions): Promise<ResolvedImage>;
  /**
   * Brings an image for this machine's platform. What is here is used: at once where `ref` has a digest, under whatever
   * name it came, else when the registry can't or won't give it, whatever its answer. One that is given up leaves
   * nothing running.
   */
  pull(ref: string, options?: PullOptions): Promise<PulledImage>;
  /** @throws RuntimeError `RUNTIME_IMAGE_NOT_FOUND` where it is not on this machine */
  inspectImage(ref: string): Promise<LocalImage>;
  images(): Promise<readonly Image[]>;
  /** Removes images that no container uses and `keep` does not name; gives those removed. */
  removeUnusedImages(keep: ReadonlySet<string>): Promise<readonly Image[]>;

  create(spec: ContainerSpec): Promise<ContainerStatus>;
  start(id: string): Promise<void>;
  /** Sends a signal to the first process; without one, the container's stop signal. One that does not run is left alone. */
  kill(id: string, signal?: string): Promise<void>;
  /** Resolves when it has ended, at once if it had. @throws RuntimeError `RUNTIME_WRONG_STATE` if it was never started */
  wait(id: string, signal?: AbortSignal): Promise<ExitStatus>;
  /** Ends it if it runs. */
  remove(id: string): Promise<void>;
  list(): Promise<readonly ContainerStatus[]>;
  /**
   * Removes every container that `keep` does not name, and every piece of one (a root, a mount, a namespace, a log)
   * that a killed process left half made or half removed; gives the ids. What this object is making just then stays.
   */
  collectOrphans(keep: ReadonlySet<string>): Promise<readonly string[]>;
  /**
   * All events from now on, `lost` first. Ends when `signal` aborts; throws `RUNTIME_UNAVAILABLE` when the runtime goes
   * away. Called while it is away, it waits until it is back, so a reader may call again at once.
   */
  events(signal: AbortSignal): AsyncIterable<ContainerEvent>;

  /**
   * Starts a process beside the first. As with a shell, a program that is not there ends with 127 and one that can't be
   * run with 126, and why is on `stderr`.
   *
   * When `signal` aborts, before the start or after it, the process is ended with all that it has started and that is
   * still of its session.
   *
   * @throws RuntimeError `RUNTIME_WRONG_STATE` if the container does not run
   */
  exec(id: string, spec: ExecSpec, streams?: ExecStreams, signal?: AbortSignal): Promise<ExecProcess>;
  /** What it wrote, oldest first, from both streams in the order in which it came. */
  logs(id: string, options?: LogOptions): AsyncIterable<LogLine>;
  /** @throws RuntimeError `RUNTIME_WRONG_STATE` if it does not run */
  stats(id: string): Promise<ContainerStats>;

  /**
   * Removes every container, image and partial download, and all that the runtime itself ever made on this machine, as
   * when a node leaves for good. Nothing may be under way.
   */
  purge(): Promise<void>;

  close(): Promise<void>;
}
