import type { RuntimeError } from "./errors.ts";

/** A platform by OCI's names, whatever names the image uses: `amd64`, not `x86_64`; `arm` and `v7`, not `armhf`. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  /** The instruction set level: `v1` to `v4` of amd64, `v5` to `v7` of arm, `v8` and later of arm64. */
  readonly variant?: string;
}

/** An image by a name. */
export interface Image {
  /** The canonical reference: `docker.io/library/nginx:1.27`. */
  readonly ref: string;
  /** Digest of the index or manifest that the reference names. */
  readonly digest: string;
}

/**
 * `registry`: the registry answered. `local`: the local image was used, because the registry failed (`because`), or,
 * without `because`, since the reference has a digest, for which no request is needed.
 */
export type ImageSource = { readonly kind: "registry" } | { readonly kind: "local"; readonly because?: RuntimeError };

export interface PulledImage extends Image {
  readonly source: ImageSource;
}

/** The present result of resolving a reference. */
export interface ResolvedImage extends Image {
  /** The reference with its digest, and the tag for people. Pulled by this, it always means the same image. */
  readonly pinned: string;
  readonly source: ImageSource;
  /** All platforms of the image. */
  readonly platforms: readonly Platform[];
  /** Configuration of the image for this machine; undefined where there is none. */
  readonly config: ImageConfig | undefined;
}

/** An image that is on this machine. */
export interface LocalImage extends Image {
  readonly platform: Platform;
  readonly config: ImageConfig;
  /** Of its layers and its configuration as they are in a registry: compressed. */
  readonly sizeBytes: number;
}

/** An image's health check (`HEALTHCHECK`). Fields that are left out have Docker's defaults. */
export type ImageHealthcheck =
  /** The health check of the base image is removed. */
  | { readonly kind: "none" }
  | {
      readonly kind: "command";
      /** A program and its arguments; a command for a shell has the image's shell in front. */
      readonly command: readonly string[];
      readonly intervalMs?: number;
      readonly timeoutMs?: number;
      readonly startPeriodMs?: number;
      readonly startIntervalMs?: number;
      readonly retries?: number;
    };

/** Every field of an OCI image's `config`, with Docker's extensions. Lists that are not set are empty. */
export interface ImageConfig {
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  /** `NAME=value`, in order. */
  readonly env: readonly string[];
  readonly workingDir: string | undefined;
  /** `user`, `uid`, `user:group` or `uid:gid`. */
  readonly user: string | undefined;
  /** As written. An invalid signal is not an error: SIGTERM is then sent. */
  readonly stopSignal: string | undefined;
  readonly exposedPorts: readonly { readonly port: number; readonly protocol: "tcp" | "udp" | "sctp" }[];
  /** Absolute paths of the image's volumes. */
  readonly volumes: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly healthcheck: ImageHealthcheck | undefined;
  /** The shell that runs commands that are one text. */
  readonly shell: readonly string[];
  /** Build steps for images that are built on this one; not used by runtimes. */
  readonly onBuild: readonly string[];
}

/** The configuration of an image without settings. */
export const emptyImageConfig: ImageConfig = {
  entrypoint: [],
  cmd: [],
  env: [],
  workingDir: undefined,
  user: undefined,
  stopSignal: undefined,
  exposedPorts: [],
  volumes: [],
  labels: {},
  healthcheck: undefined,
  shell: ["/bin/sh", "-c"],
  onBuild: [],
};
