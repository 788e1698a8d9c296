import type { Platform } from "@warren/runtime";
import { expect, test } from "vitest";
import { machinePlatform, normalPlatform, platformRank, showPlatform } from "../src/platform.ts";

/** `os/architecture/variant` as somebody wrote it. */
function platform(text: string): Platform {
  const [os = "", architecture = "", variant] = text.split("/");
  return normalPlatform({ os, architecture, ...(variant !== undefined && { variant }) });
}

test.each([
  ["Linux/x86_64", "linux/amd64"],
  ["linux/amd64/v1", "linux/amd64"],
  ["linux/amd64/V3", "linux/amd64/v3"],
  ["linux/aarch64", "linux/arm64"],
  ["linux/arm64/v8", "linux/arm64"],
  ["linux/arm64/8.0", "linux/arm64"],
  ["linux/arm64/v8.2", "linux/arm64/v8.2"],
  ["linux/arm", "linux/arm/v7"],
  ["linux/arm/6", "linux/arm/v6"],
  ["linux/armhf", "linux/arm/v7"],
  ["linux/armel", "linux/arm/v6"],
  ["linux/i686", "linux/386"],
  ["linux/riscv64", "linux/riscv64"],
  ["linux/__proto__", "linux/__proto__"],
])("%s is %s", (given, expected) => {
  expect(showPlatform(platform(given))).toBe(expected);
});

const flags = {
  v2: "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3",
  v3: "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave",
  v4: "avx512f avx512bw avx512cd avx512dq avx512vl",
};

test.each([
  ["x86_64", "flags\t\t: fpu sse sse2", "linux/amd64"],
  ["x86_64", `processor : 0\nflags : ${flags.v2}\n`, "linux/amd64/v2"],
  ["x86_64", `flags : ${flags.v2} ${flags.v3}`, "linux/amd64/v3"],
  ["x86_64", `flags : ${flags.v2} ${flags.v4}`, "linux/amd64/v2"],
  ["x86_64", `flags : ${flags.v2} ${flags.v3} ${flags.v4}`, "linux/amd64/v4"],
  ["aarch64", "Features : fp asimd", "linux/arm64"],
  ["armv7l", "", "linux/arm/v7"],
  ["armv6l", "", "linux/arm/v6"],
  ["armv8l", "", "linux/arm/v8"],
  ["riscv64", "", "linux/riscv64"],
])("a machine that calls itself %s, with %j, is %s", (name, cpuinfo, expected) => {
  expect(showPlatform(machinePlatform(name, cpuinfo))).toBe(expected);
});

test.each([
  ["linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v3", "linux/amd64/v4"], "linux/amd64/v3"],
  ["linux/amd64/v3", ["linux/386", "linux/amd64/v4", "linux/amd64"], "linux/amd64"],
  ["linux/amd64", ["linux/amd64/v2", "linux/386"], "linux/386"],
  ["linux/arm64", ["linux/arm/v7", "linux/arm64/v8"], "linux/arm64"],
  ["linux/arm64", ["linux/arm/v6", "linux/arm/v7"], "linux/arm/v7"],
  ["linux/arm64", ["linux/arm64/v9"], undefined],
  ["linux/arm/v7", ["linux/arm/v5", "linux/arm/v6", "linux/arm/v8"], "linux/arm/v6"],
  ["linux/arm/v6", ["linux/arm", "linux/arm64"], undefined],
  ["linux/riscv64", ["linux/amd64", "linux/riscv64"], "linux/riscv64"],
  ["linux/amd64", ["windows/amd64", "darwin/amd64"], undefined],
])("of what fits %s the best is taken: %j", (machine, offered, expected) => {
  const ranked = offered.map((text) => ({ text, rank: platformRank(platform(machine), platform(text)) }));
  const fitting = ranked.flatMap(({ text, rank }) => (rank === undefined ? [] : [{ text, rank }]));
  const [best] = fitting.sort((a, b) => a.rank - b.rank);
  expect(best && showPlatform(platform(best.text))).toBe(expected);
});
