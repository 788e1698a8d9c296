import type { RuntimeError } from "./errors.ts";

/** In OCI's words, whatever an image's author called it: `amd64`, not `x86_64`; `arm` and `v7`, not `armhf`. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  /** The level of instructions: `v1` to `v4` of amd64, `v5` to `v7` of arm, `v8` and later of arm64. */
  readonly variant?: string;
}

/** An image by a name. */
export interface Image {
  /** In full: `docker.io/library/nginx:1.27`. */
  readonly ref: string;
  /** Of what the reference names: an index or a manifest. */
  readonly digest: string;
}

/**
 * `registry`: it was asked and answered. `local`: what is here under the name was taken, because the registry could not
 * or would not give it; without `because` nobody had to be asked, since a digest names one thing for ever.
 */
export type ImageSource = { readonly kind: "registry" } | { readonly kind: "local"; readonly because?: RuntimeError };

export interface PulledImage extends Image {
  readonly source: ImageSource;
}

/** What a reference means at this moment. */
export interface ResolvedImage extends Image {
  /** The same by its digest, with the tag kept for people; pulled by this, it means the same for ever. */
  readonly pinned: string;
  readonly source: ImageSource;
  /** All that it can run on. */
  readonly platforms: readonly Platform[];
  /** Of the image for this machine; undefined where there is none. */
  readonly config: ImageConfig | undefined;
}

/** An image that is on this machine. */
export interface LocalImage extends Image {
  readonly platform: Platform;
  readonly config: ImageConfig;
}

/** An image's health check (`HEALTHCHECK`). Fields that are left out have Docker's defaults. */
export type ImageHealthcheck =
  /** What a base image said is taken back. */
  | { readonly kind: "none" }
  | {
      readonly kind: "command";
      /** A program and its arguments; a text for a shell comes with the image's shell in front. */
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
  /** As written. What is no signal is not an error: SIGTERM is then sent. */
  readonly stopSignal: string | undefined;
  readonly exposedPorts: readonly { readonly port: number; readonly protocol: "tcp" | "udp" | "sctp" }[];
  /** Absolute paths whose content is to outlive the container's own layer. */
  readonly volumes: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly healthcheck: ImageHealthcheck | undefined;
  /** What runs commands that are written as one text. */
  readonly shell: readonly string[];
  /** Steps for images that are built on this one; no runtime does anything with them. */
  readonly onBuild: readonly string[];
}

/** Of an image that says nothing. */
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
