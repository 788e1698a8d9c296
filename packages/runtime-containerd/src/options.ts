import type { Clock, Logger, Random } from "@warren/std";

export interface ContainerdDependencies {
  readonly log?: Logger;
  readonly random?: Random;
  readonly clock?: Clock;
  /** How registries are reached. @default the global `fetch` */
  readonly fetch?: typeof fetch;
}

export interface ContainerdOptions {
  /** containerd's socket. @default "/run/containerd/containerd.sock" */
  readonly address?: string;
  /** containerd's namespace, ours alone: one worker a namespace. @default "warren" */
  readonly namespace?: string;
  /** Where containers' network namespaces and small files are; on a tmpfs, so that a reboot clears it. @default "/run/warren/runtime" */
  readonly runDir?: string;
  /** Where logs are; on disk. @default "/var/lib/warren/runtime" */
  readonly dataDir?: string;
  /**
   * The cgroup that containers' are under, ours alone on this machine: what is in it and no container's is ended.
   *
   * @default the namespace, with a digest of `runDir` where that is not the default, so that two nodes are apart
   */
  readonly cgroupParent?: string;
  /**
   * The small program that keeps logs and is containers' init. It must stay where it is while containers run.
   *
   * @default the one that is built in this package's `bin/`
   */
  readonly program?: string;
  /**
   * Other places to ask for a registry's images, tried in order before the registry itself: `docker.io` to
   * `["https://mirror.test"]`. A login for the registry is never shown to them.
   */
  readonly mirrors?: Readonly<Record<string, readonly string[]>>;
}

export const defaultRunDir = "/run/warren/runtime";
export const defaultSystemAddress = "/run/containerd/containerd.sock";
