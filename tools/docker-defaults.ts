/** Docker's defaults as a module of ours: see `tools/docker-defaults --help`. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SeccompRule } from "../packages/runtime-containerd/src/seccomp.ts";

const target = new URL("../packages/runtime-containerd/src/docker-defaults.ts", import.meta.url);
const profiles = "github.com/moby/profiles/seccomp";
const engine = "github.com/moby/moby/v2";

interface Module {
  readonly Version: string;
  readonly Dir: string;
  readonly Info: string;
}

/** A rule as Docker publishes it. */
interface Rule extends Pick<SeccompRule, "names" | "errnoRet" | "args"> {
  readonly action: string;
  readonly includes?: { readonly arches?: readonly string[]; readonly caps?: readonly string[] };
  readonly excludes?: { readonly arches?: readonly string[]; readonly caps?: readonly string[] };
}

interface Profile {
  readonly defaultAction: string;
  readonly defaultErrnoRet: number;
  readonly archMap: readonly { readonly architecture: string; readonly subArchitectures: readonly string[] | null }[];
  readonly syscalls: readonly Rule[];
}

/** Downloads the newest version of a module through Go's own client. */
function download(module: string, cwd: string): Module & { readonly date: string } {
  const text = execFileSync("go", ["mod", "download", "-json", `${module}@latest`], { cwd, encoding: "utf8" });
  const found = JSON.parse(text) as Module;
  const { Time } = JSON.parse(readFileSync(found.Info, "utf8")) as { readonly Time: string };
  return { ...found, date: Time.slice(0, 10) };
}

/** The strings of a Go list that begins after `head`. */
function goStrings(source: string, head: string): string[] {
  const begin = source.indexOf(head);
  if (begin < 0) throw new Error(`Docker's source has no "${head}" any more: see what became of it`);
  const end = source.indexOf("}", begin + head.length);
  return [...source.slice(begin + head.length, end).matchAll(/^\s*"([^"]+)",/gm)].map(([, text]) => text ?? "");
}

/** `s.Linux.Sysctl["NAME"] = "VALUE"` */
function goSysctls(source: string): Record<string, string> {
  const found = [...source.matchAll(/s\.Linux\.Sysctl\["([^"]+)"\] = "([^"]+)"/g)];
  return Object.fromEntries(found.map(([, name, value]) => [name ?? "", value ?? ""]));
}

function generate(home: string): string {
  const [seccomp, moby] = [download(profiles, home), download(engine, home)];
  const profile = JSON.parse(readFileSync(join(seccomp.Dir, "default.json"), "utf8")) as Profile;
  const read = (path: string): string => readFileSync(join(moby.Dir, path), "utf8");
  const spec = read("daemon/pkg/oci/defaults.go");
  const plain = ({ names, action, errnoRet, args, includes = {}, excludes = {} }: Rule): SeccompRule => ({
    names,
    ...(action !== "SCMP_ACT_ALLOW" && { action }),
    ...(errnoRet !== undefined && { errnoRet }),
    ...(args?.length && { args }),
    ...(includes.arches && { arches: includes.arches }),
    ...(includes.caps && { capabilities: includes.caps }),
    ...(excludes.arches && { notArches: excludes.arches }),
    ...(excludes.caps && { notCapabilities: excludes.caps }),
  });
  const json = (value: unknown): string => JSON.stringify(value, undefined, 2);
  return `/**
 * Docker's defaults for containers. Written by \`tools/docker-defaults\` from ${profiles} ${seccomp.Version} (${seccomp.date})
 * and ${engine} ${moby.Version} (${moby.date}), both under the Apache License 2.0; not by hand.
 */

import type { SeccompRule } from "./seccomp.ts";

/** The newer of both dates is when this was looked up last. */
export const upstream: {
  readonly seccomp: { readonly version: string; readonly date: string };
  readonly engine: { readonly version: string; readonly date: string };
} = ${json({ seccomp: { version: seccomp.Version, date: seccomp.date }, engine: { version: moby.Version, date: moby.date } })};

export const capabilities: readonly string[] = ${json(goStrings(read("daemon/pkg/oci/caps/defaults.go"), "return []string{"))};

export const maskedPaths: readonly string[] = ${json(goStrings(spec, "maskedPaths := []string{"))};

/** With the number of each processor instead of N; masked where it is there. */
export const maskedOfProcessors: readonly string[] = ${json([...spec.matchAll(/Sprintf\("([^"]*cpu%d[^"]*)"/g)].map(([, path]) => path?.replace("%d", "N")))};

export const readonlyPaths: readonly string[] = ${json(goStrings(spec, "ReadonlyPaths: []string{"))};

/** Of a network namespace of the container's own; set where the kernel has them. */
export const sysctls: Readonly<Record<string, string>> = ${json(goSysctls(read("daemon/oci_linux.go")))};

export const seccompDefault: { readonly action: string; readonly errnoRet: number } = ${json({ action: profile.defaultAction, errnoRet: profile.defaultErrnoRet })};

/** Architectures that a machine runs too, by its own. */
export const seccompArchitectures: Readonly<Record<string, readonly string[]>> = ${json(Object.fromEntries(profile.archMap.map(({ architecture, subArchitectures }) => [architecture, subArchitectures ?? []])))};

export const seccompRules: readonly SeccompRule[] = ${json(profile.syscalls.map(plain))};
`;
}

const home = mkdtempSync(join(tmpdir(), "docker-defaults-"));
try {
  execFileSync("go", ["mod", "init", "docker-defaults"], { cwd: home, stdio: "ignore" });
  const text = generate(home);
  const isCheck = process.argv.includes("--check");
  const names = (of: string): string => /Written by[^]*?by hand/.exec(of)?.[0] ?? "";
  if (!isCheck) writeFileSync(target, text);
  else if (names(text) !== names(readFileSync(target, "utf8"))) {
    process.stdout.write("there is something newer: run tools/docker-defaults, then tools/pnpm format\n");
    process.exitCode = 1;
  }
} finally {
  rmSync(home, { recursive: true });
}
