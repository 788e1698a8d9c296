/** Names of platforms: those of uname, Debian, Docker, Go and OCI for the same platform. */
import type { Platform } from "./types.ts";

/** Other names of architectures, with the variant that they imply. */
const aliases: ReadonlyMap<string, { readonly arch: string; readonly variant?: string }> = new Map([
  ["x86_64", { arch: "amd64" }],
  ["x86-64", { arch: "amd64" }],
  ["aarch64", { arch: "arm64" }],
  ["armv8", { arch: "arm64" }],
  ["armv8l", { arch: "arm", variant: "v8" }],
  ["armhf", { arch: "arm", variant: "v7" }],
  ["armv7", { arch: "arm", variant: "v7" }],
  ["armv7l", { arch: "arm", variant: "v7" }],
  ["armv7hl", { arch: "arm", variant: "v7" }],
  ["armel", { arch: "arm", variant: "v6" }],
  ["armv6", { arch: "arm", variant: "v6" }],
  ["armv6l", { arch: "arm", variant: "v6" }],
  ["armv5", { arch: "arm", variant: "v5" }],
  ["armv5l", { arch: "arm", variant: "v5" }],
  ["armv5tel", { arch: "arm", variant: "v5" }],
  ["i386", { arch: "386" }],
  ["i486", { arch: "386" }],
  ["i586", { arch: "386" }],
  ["i686", { arch: "386" }],
  ["x86", { arch: "386" }],
  ["loongarch64", { arch: "loong64" }],
]);

/** The usual variant of an architecture, for where none is given. */
const usualVariants: ReadonlyMap<string, string> = new Map([
  ["arm", "v7"],
  ["arm64", "v8"],
  ["amd64", "v1"],
]);

/** The platform with Go's and OCI's names; empty ones stay empty. A variant is `v` and a number; a missing one becomes the usual one. */
export function normalPlatform({ os, arch, variant = "" }: Platform): Required<Platform> {
  const lower = arch.toLowerCase();
  const alias = aliases.get(lower);
  const name = alias?.arch ?? lower;
  const given = variant.toLowerCase().replace(/^(?=\d)/, "v");
  const system = os.toLowerCase();
  return {
    os: system === "macos" ? "darwin" : system,
    arch: name,
    variant: given === "" ? (alias?.variant ?? usualVariants.get(name) ?? "") : given,
  };
}

/** Whether a node runs an image: a newer variant runs what is built for an older one. */
export function runsOn(node: Platform, image: Platform): boolean {
  const [has, wants] = [normalPlatform(node), normalPlatform(image)];
  if (wants.os !== "" && wants.os !== has.os) return false;
  if (wants.arch === "") return true;
  return wants.arch === has.arch && newness(wants.variant) <= newness(has.variant);
}

/** `v7` is 7, `v8.2` is 8.2. */
function newness(variant: string): number {
  return Number(/^v(\d+(?:\.\d+)?)/.exec(variant)?.[1] ?? 0);
}

/** All names that a constraint may give to a node's architecture, in lower case: its own, the usual one, and `arm/v7`. */
export function archNames(platform: Platform): string[] {
  const { arch, variant } = normalPlatform(platform);
  return [platform.arch.toLowerCase(), arch, `${arch}/${variant}`];
}

/** The name among `archNames` that a constraint means by a value. */
export function archMeant(value: string): string {
  const alias = aliases.get(value.toLowerCase());
  if (alias === undefined) return value.toLowerCase();
  return alias.variant === undefined ? alias.arch : `${alias.arch}/${alias.variant}`;
}

/** `linux/arm/v7`, with the usual variant of an architecture left out. */
export function platformText(platform: Platform | undefined): string {
  if (platform === undefined) return "of no known platform";
  const { os, arch, variant } = normalPlatform(platform);
  const unusual = variant === (arch === "arm" ? "" : (usualVariants.get(arch) ?? "")) ? "" : `/${variant}`;
  return `${os || "any"}/${arch || "any"}${unusual}`;
}
