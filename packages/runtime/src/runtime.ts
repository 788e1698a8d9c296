import type { ContainerSpec } from "./container-spec.ts";
import type { Image, LocalImage, PulledImage, ResolvedImage } from "./image.ts";

export interface RuntimeInfo {
  /** Name and version of the runtime: `containerd 1.6.20`. */
  readonly version: string;
  /** OCI's names: `linux`, `amd64`. */
  readonly os: string;
  readonly architecture: string;
  /** As in `Platform`; undefined where it is not known. */
  readonly variant?: string;
  /**
   * The OCI runtime's version, with its build where it reports one: `runc 1.1.5+ds1 (1.1.5+ds1-1+deb12u1)`. Undefined
   * where it could not be run.
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
  /** Bytes of the image's layers that are on this machine. */
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
  /** 128 + n if signal n ended it. */
  readonly code: number;
  /** Whether the kernel's out-of-memory killer ended it. */
  readonly oomKilled: boolean;
  /** Wall time, ms since 1970. */
  readonly finishedAt: number;
}

/**
 * `created`: network namespace and root exist, nothing runs. `unknown`: how it ended is not known, and it can only be
 * removed; with `reboot` the machine went down, which is no failure of the container, with `lost` its shim was killed.
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
   * Path of the container's network namespace, which exists from `create` to `remove`: it is connected before the process
   * starts, and outlives it.
   */
  readonly netnsPath: string;
}

/**
 * `lost`: events may have been missed while the runtime was unavailable, so read `list()`. It is the first event of every
 * stream, so that a reader starts and recovers in the same way.
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

/** With `tty` all output is on `stdout`. A slow reader slows the process, and costs no memory here. */
export interface ExecStreams {
  readonly stdin?: ReadableStream<Uint8Array>;
  readonly stdout?: WritableStream<Uint8Array>;
  readonly stderr?: WritableStream<Uint8Array>;
}

export interface ExecProcess {
  /** Resolves when the process has ended and all its output is written; rejects with the reason once `signal` is aborted. */
  readonly exit: Promise<ExitStatus>;
  resize(columns: number, rows: number): Promise<void>;
  /** KILL is sent to all processes of its session; other signals only to the process itself. */
  signal(signal: string): Promise<void>;
}

/** A line of at most this many bytes is delivered in one piece. */
export const wholeLineBytes: number = 256 * 1024;

/** Both directions of a connection, each as slow as its slower end. */
export interface Connection {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
}

export interface LogLine {
  /** Wall time at which the line's end was read, ms since 1970, with a fraction where the runtime knows it. */
  readonly at: number;
  readonly stream: "stdout" | "stderr";
  /** Without the line feed; bytes, since a container may write any. */
  readonly line: Uint8Array;
  /**
   * No line feed followed: it is the end of the output, or a piece of a line that is longer than a runtime buffers (at
   * least `wholeLineBytes`) and goes on in the next one of the stream.
   */
  readonly partial: boolean;
}

export interface LogOptions {
  /** Continue with later lines, until the container has ended or is removed, or `signal` is aborted. */
  readonly follow?: boolean;
  /** Only lines at or after this time, ms since 1970. */
  readonly since?: number;
  /** Only the last lines, that many, of those that exist. */
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
 * A container runtime. Every call may throw `RuntimeError`; `RUNTIME_UNAVAILABLE` means that the runtime could not be
 * reached and the outcome is unknown.
 *
 * Its promises, which the contract suite checks:
 *
 * I1 `create` creates the whole container, or leaves nothing of it.
 * I2 `remove` leaves nothing: no process, root, mount, namespace or log. Removing an unknown container is not an error.
 * I3 Containers outlive this object and its process; `list` finds them again, with the exits of those that ended
 *    meanwhile.
 * I4 A container is never blocked by a slow or missing reader of its logs.
 */
export interface Runtime extends AsyncDisposable {
  info(): Promise<RuntimeInfo>;

  /**
   * Resolves `ref` at the registry; where that fails, to the local image of the name, with the registry's failure. Fetches
   * no layers. A reference with the digest of a local image needs no request.
   */
  resolveImage(ref: string, options?: ResolveOptions): Promise<ResolvedImage>;
  /**
   * Asks a registry, and no mirror of it, whether it accepts a login; false where it asks for none.
   *
   * @throws RuntimeError `RUNTIME_REGISTRY_UNAUTHORIZED` where it refuses the login
   */
  checkLogin(registry: string, auth: RegistryAuth, signal?: AbortSignal): Promise<boolean>;
  /**
   * Pulls an image for this machine's platform. A local image is used: without a request where `ref` has its digest,
   * whatever name it was pulled by, else where the registry fails in any way. An aborted pull leaves nothing running.
   */
  pull(ref: string, options?: PullOptions): Promise<PulledImage>;
  /** @throws RuntimeError `RUNTIME_IMAGE_NOT_FOUND` where it is not on this machine */
  inspectImage(ref: string): Promise<LocalImage>;
  images(): Promise<readonly Image[]>;
  /** Removes images that no container uses and that are not in `keep`; resolves with those removed. */
  removeUnusedImages(keep: ReadonlySet<string>): Promise<readonly Image[]>;

  create(spec: ContainerSpec): Promise<ContainerStatus>;
  start(id: string): Promise<void>;
  /** Sends a signal to the first process; by default the container's stop signal. Does nothing if it does not run. */
  kill(id: string, signal?: string): Promise<void>;
  /** Resolves when it has ended. @throws RuntimeError `RUNTIME_WRONG_STATE` if it was never started */
  wait(id: string, signal?: AbortSignal): Promise<ExitStatus>;
  /** Ends the container if it runs, and removes it. */
  remove(id: string): Promise<void>;
  list(): Promise<readonly ContainerStatus[]>;
  /**
   * Removes every container that is not in `keep`, and every part of one (a root, a mount, a namespace, a log) that an
   * interrupted `create` or `remove` left behind; resolves with their ids. Containers that this object is creating stay.
   */
  collectOrphans(keep: ReadonlySet<string>): Promise<readonly string[]>;
  /**
   * All events from now on, `lost` first. Ends when `signal` is aborted; throws `RUNTIME_UNAVAILABLE` when the runtime
   * becomes unavailable. Called meanwhile, it waits until the runtime is back, so a reader may call again at once.
   */
  events(signal: AbortSignal): AsyncIterable<ContainerEvent>;

  /**
   * Starts a further process in the container. As in a shell, the exit code is 127 for a missing program and 126 for one
   * that can't be run, with the reason on `stderr`.
   *
   * When `signal` is aborted, before the start or after it, all processes of its session are ended.
   *
   * @throws RuntimeError `RUNTIME_WRONG_STATE` if the container does not run
   */
  exec(id: string, spec: ExecSpec, streams?: ExecStreams, signal?: AbortSignal): Promise<ExecProcess>;
  /**
   * A TCP connection to a port of the container, on its own loopback.
   *
   * The readable side ends when the container sends no more; closing the writable side passes on that nothing more comes.
   * When `signal` is aborted the connection is ended.
   *
   * @throws RuntimeError `RUNTIME_WRONG_STATE` if the container does not run, `RUNTIME_PORT_CLOSED` if nothing listens there
   */
  connect(id: string, port: number, signal?: AbortSignal): Promise<Connection>;
  /** The container's output, oldest first, of both streams in the order in which it was written. */
  logs(id: string, options?: LogOptions): AsyncIterable<LogLine>;
  /** @throws RuntimeError `RUNTIME_WRONG_STATE` if it does not run */
  stats(id: string): Promise<ContainerStats>;

  /**
   * Removes every container, image and partial download, and all other files and namespaces of the runtime on this
   * machine, for a node that leaves its cluster. No other call may be under way.
   */
  purge(): Promise<void>;

  close(): Promise<void>;
}
