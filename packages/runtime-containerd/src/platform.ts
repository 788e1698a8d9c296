import type { Platform } from "@warren/runtime";

/** What others call them, and what OCI does. */
const architectures: Readonly<Record<string, readonly [architecture: string, variant?: string]>> = {
  x86_64: ["amd64"],
  "x86-64": ["amd64"],
  i386: ["386"],
  i486: ["386"],
  i586: ["386"],
  i686: ["386"],
  aarch64: ["arm64"],
  armhf: ["arm", "v7"],
  armel: ["arm", "v6"],
  armv8l: ["arm", "v8"],
  armv7l: ["arm", "v7"],
  armv6l: ["arm", "v6"],
  armv5tel: ["arm", "v5"],
};
/** The level that an architecture without a variant means. */
const plainLevels: Readonly<Record<string, number>> = { amd64: 1, arm64: 8, arm: 7 };
/** 32-bit images that a 64-bit machine runs too, when nothing better is offered. */
const narrower: Readonly<Record<string, Platform>> = {
  amd64: { os: "linux", architecture: "386" },
  arm64: { os: "linux", architecture: "arm", variant: "v8" },
};

/** Flags of `/proc/cpuinfo` that a level of amd64 asks for beyond the one below (x86-64 psABI). */
const amd64Levels: readonly (readonly string[])[] = [
  ["cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"],
  ["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"],
  ["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"],
];

/** One name for one thing: `x86_64` is `amd64`, `arm64/v8` is `arm64`, `arm` is `arm/v7`. */
export function normalPlatform(given: Platform): Platform {
  const name = given.architecture.toLowerCase();
  const [architecture, implied] = Object.hasOwn(architectures, name) ? (architectures[name] ?? [name]) : [name];
  const written = given.variant?.toLowerCase().replace(/^(?=\d)/, "v") || implied;
  const variant = architecture === "arm" ? (written ?? "v7") : written;
  const isPlain = architecture !== "arm" && variant !== undefined && levelOf(variant) === plainLevels[architecture];
  return { os: given.os.toLowerCase(), architecture, ...(variant !== undefined && !isPlain && { variant }) };
}

export function showPlatform({ os, architecture, variant }: Platform): string {
  return `${os}/${architecture}${variant === undefined ? "" : `/${variant}`}`;
}

/** What a machine runs, by its name for itself and its `/proc/cpuinfo`. */
export function machinePlatform(machine: string, cpuinfo: string): Platform {
  const platform = normalPlatform({ os: "linux", architecture: machine });
  if (platform.architecture !== "amd64") return platform;
  const flags = new Set(/^flags\s*:(.*)$/m.exec(cpuinfo)?.[1]?.trim().split(/\s+/));
  const above = amd64Levels.findIndex((level) => !level.every((flag) => flags.has(flag)));
  return normalPlatform({ ...platform, variant: `v${1 + (above < 0 ? amd64Levels.length : above)}` });
}

/** How well an image fits a machine: the lower the better; undefined where it can't run there. Both are normal. */
export function platformRank(machine: Platform, offered: Platform): number | undefined {
  if (machine.os !== offered.os) return undefined;
  if (machine.architecture === offered.architecture) return variantRank(machine, offered);
  const second = narrower[machine.architecture];
  const rank = second?.architecture === offered.architecture ? variantRank(second, offered) : undefined;
  return rank === undefined ? undefined : 1_000 + rank;
}

function variantRank(machine: Platform, offered: Platform): number | undefined {
  const [has, needs] = [level(machine), level(offered)];
  if (has === undefined || needs === undefined) return machine.variant === offered.variant ? 0 : undefined;
  return needs <= has ? (has - needs) * 10 : undefined;
}

function level({ architecture, variant }: Platform): number | undefined {
  return variant === undefined ? (plainLevels[architecture] ?? 0) : levelOf(variant);
}

/** `v8.2` is 8.2. */
function levelOf(variant: string): number | undefined {
  const number = /^v(\d{1,2}(?:\.\d{1,2})?)$/.exec(variant)?.[1];
  return number === undefined ? undefined : Number(number);
}
