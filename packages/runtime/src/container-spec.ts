/** Where a directory or file of the container comes from. A named volume is resolved to its host path by the caller. */
export type Mount =
  | {
      readonly kind: "bind";
      readonly source: string;
      readonly target: string;
      readonly readOnly?: boolean;
      /**
       * Where `source` is an empty directory and the image has one at `target`, it first gets that one's owner, mode
       * and content, as Docker does with named volumes. One that was cut off in between begins anew.
       *
       * @default false
       */
      readonly fill?: boolean;
    }
  | { readonly kind: "tmpfs"; readonly target: string; readonly sizeBytes?: number; readonly mode?: number };

export interface Resources {
  /** Most CPU time, in cores; `0.5` is half of one. Default: no limit. */
  readonly cpuLimit?: number;
  /**
   * Cores that it gets under contention, as long as no more are promised than there are; what is left is shared in the
   * same proportion. Default: none, so a share of what others leave.
   */
  readonly cpuReservation?: number;
  /** Past this the kernel kills. Default: no limit. */
  readonly memoryLimitBytes?: number;
  /** Kept when memory is short. Default: none. */
  readonly memoryReservationBytes?: number;
  /** Most processes and threads; -1 for no limit. @default 4096 */
  readonly pidsLimit?: number;
}

/** -1 is no limit. */
export interface Ulimit {
  /** Without `RLIMIT_`, in lower case, as `ulimit` and Docker have it: `nofile`, `nproc`, `core`. */
  readonly name: string;
  readonly soft: number;
  readonly hard: number;
}

export interface Device {
  readonly source: string;
  /** Default: as `source`. */
  readonly target?: string;
  /** Of `r`, `w` and `m`. @default "rwm" */
  readonly permissions?: string;
}

/** The container's `resolv.conf`. */
export interface Dns {
  readonly servers: readonly string[];
  readonly search?: readonly string[];
  readonly options?: readonly string[];
}

/** How much of a container's output is kept: the newest `files` of `fileBytes` each; the oldest goes first. */
export interface LogRotation {
  /** A file that has grown past this is the next to be closed. @default 10485760 (10 MiB) */
  readonly fileBytes?: number;
  /** @default 3 */
  readonly files?: number;
}

/**
 * All that can be asked of one container. What is left out comes from the image, then from defaults that are as safe
 * as Docker's: its capability set, masked and read-only paths and seccomp profile.
 */
export interface ContainerSpec {
  /** Unique in the runtime: `[a-z0-9]` and dashes, 1 to 76 characters. */
  readonly id: string;
  /** A reference that was pulled. */
  readonly image: string;
  /** Replaces the image's entrypoint, and drops the image's arguments with it, as Docker does. */
  readonly command?: readonly string[];
  /** Replaces the image's arguments (`Cmd`). */
  readonly args?: readonly string[];
  /** Added to the image's, ours winning. */
  readonly env?: Readonly<Record<string, string>>;
  /** Absolute. */
  readonly workingDir?: string;
  /** `user`, `uid`, `user:group` or `uid:gid`; names are looked up in the image. */
  readonly user?: string;
  /** Supplementary groups, by name or number. */
  readonly groups?: readonly string[];
  /** @default the first 12 characters of `id` */
  readonly hostname?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly resources?: Resources;
  /**
   * What the image declares as volumes (`VOLUME`) and is not mounted on here gets a directory of the container's own,
   * filled from the image, writable even with `readOnlyRoot`, and removed with the container.
   */
  readonly mounts?: readonly Mount[];
  readonly readOnlyRoot?: boolean;
  /** With or without `CAP_`; `ALL` for all. Added to the default set after `capabilityDrop`. */
  readonly capabilityAdd?: readonly string[];
  /** With or without `CAP_`; `ALL` for all. */
  readonly capabilityDrop?: readonly string[];
  /** Only those of the container's own namespaces: `net.*`, `kernel.msg*`, `kernel.sem`, `kernel.shm*`, `fs.mqueue.*`. */
  readonly sysctls?: Readonly<Record<string, string>>;
  readonly ulimits?: readonly Ulimit[];
  readonly devices?: readonly Device[];
  /** Name to address, for `/etc/hosts`. */
  readonly extraHosts?: Readonly<Record<string, string>>;
  readonly dns?: Dns;
  /** A small init as PID 1, which reaps and forwards signals. */
  readonly init?: boolean;
  /** The process gets a terminal of 80 × 24; all its output is then `stdout`. */
  readonly tty?: boolean;
  readonly noNewPrivileges?: boolean;
  /** `TERM`, `SIGTERM`, `SIGRTMIN+3` or a number. @default the image's if it is a signal, else SIGTERM */
  readonly stopSignal?: string;
  readonly log?: LogRotation;
}
