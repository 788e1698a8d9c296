/** Where a directory or file of the container comes from. A named volume is resolved to its host path by the caller. */
export type Mount =
  | {
      readonly kind: "bind";
      readonly source: string;
      readonly target: string;
      readonly readOnly?: boolean;
      /**
       * Where `source` is an empty directory and the image has one at `target`, it first gets that one's owner, mode
       * and content, as Docker does with named volumes. An interrupted copy begins anew.
       *
       * @default false
       */
      readonly fill?: boolean;
    }
  | { readonly kind: "tmpfs"; readonly target: string; readonly sizeBytes?: number; readonly mode?: number };

export interface Resources {
  /** Limit of CPU time, in cores; `0.5` is half of one. Default: no limit. */
  readonly cpuLimit?: number;
  /**
   * Cores that it gets under contention, if the machine's reservations do not exceed its cores; the rest is shared in the
   * same proportion. Default: none, so it gets what other containers leave.
   */
  readonly cpuReservation?: number;
  /** Past this the kernel kills the container's process. Default: no limit. */
  readonly memoryLimitBytes?: number;
  /** Memory that is protected when the machine is short of it. Default: none. */
  readonly memoryReservationBytes?: number;
  /** Limit of processes and threads; -1 for no limit. @default 4096 */
  readonly pidsLimit?: number;
}

/** -1 is no limit. */
export interface Ulimit {
  /** Without `RLIMIT_`, in lower case, the names of `ulimit` and Docker: `nofile`, `nproc`, `core`. */
  readonly name: string;
  readonly soft: number;
  readonly hard: number;
}

export interface Device {
  readonly source: string;
  /** Default: the same as `source`. */
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

/** Rotation of a container's log: the newest `files` are kept, of `fileBytes` each. */
export interface LogRotation {
  /** Size at which a file is closed and the next begun. @default 10485760 (10 MiB) */
  readonly fileBytes?: number;
  /** @default 3 */
  readonly files?: number;
}

/**
 * A container to create. Fields that are left out come from the image, then from defaults that are as safe as Docker's:
 * its capability set, masked and read-only paths and seccomp profile.
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
  /** Added to the image's variables, and overriding them. */
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
   * Each of the image's volumes (`VOLUME`) without a mount here gets a directory of the container's own, filled from the
   * image, writable even with `readOnlyRoot`, and removed with the container.
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
