import { RuntimeError } from "@warren/runtime";
import type { Descriptor } from "./registry.ts";

export interface Manifest {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** The part of an OCI image's config that is used. Registries send `null` for what is not set. */
export interface ImageConfig {
  readonly os: string;
  readonly architecture: string;
  readonly rootfs: { readonly diff_ids: readonly string[] };
  readonly config?: {
    readonly Entrypoint?: readonly string[] | null;
    readonly Cmd?: readonly string[] | null;
    readonly Env?: readonly string[] | null;
    readonly WorkingDir?: string;
    readonly User?: string;
    readonly StopSignal?: string;
  };
}

/** What an image runs when asked for `command` and `args`, by Docker's rules: a command drops the image's arguments too. */
export function commandLine(
  config: ImageConfig,
  command: readonly string[] | undefined,
  args: readonly string[] | undefined,
): readonly string[] {
  const image = config.config ?? {};
  const line =
    command === undefined ? [...(image.Entrypoint ?? []), ...(args ?? image.Cmd ?? [])] : [...command, ...(args ?? [])];
  if (line.length === 0) {
    throw new RuntimeError(
      { code: "RUNTIME_SPEC_INVALID", field: "command" },
      "there is nothing to run: the image names no command, so the service must",
    );
  }
  return line;
}

/** The manifest of an index for `linux/architecture`. */
export function platformManifest(
  ref: string,
  index: { readonly manifests: readonly Descriptor[] },
  architecture: string,
): Descriptor {
  const wanted = `linux/${architecture}`;
  const chosen = index.manifests.find(({ platform }) => `${platform?.os}/${platform?.architecture}` === wanted);
  if (chosen !== undefined) return chosen;
  const offered = index.manifests.map(({ platform }) => `${platform?.os}/${platform?.architecture}`);
  throw new RuntimeError(
    { code: "RUNTIME_PLATFORM_MISSING", ref, wanted, offered },
    `${ref} has no image for ${wanted}, only for ${offered.join(", ")}`,
  );
}
