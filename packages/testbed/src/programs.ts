import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TestbedError } from "./errors.ts";
import { output } from "./namespaces.ts";

/** The folder that is first in the PATH of all that runs in hosts. */
export function programsOf(folder: string): string {
  return join(folder, "bin");
}

/** The file with the offset of a host's wall clock. */
export function clockOf(folder: string, host: string): string {
  return join(folder, host, "clock");
}

/**
 * Writes `warren` for hosts.
 *
 * @param program a file for this Node
 * @param clocks its wall clock is what the host's file says
 */
export async function writePrograms(folder: string, program: string, clocks: boolean): Promise<void> {
  await mkdir(programsOf(folder), { recursive: true });
  const environment = clocks ? await fakeClock(folder) : "";
  const warren = join(programsOf(folder), "warren");
  await writeFile(warren, `#!/bin/sh\n${environment}exec '${process.execPath}' -- '${program}' "$@"\n`);
  await chmod(warren, 0o755);
}

/** Debian's libfaketime, which stands between a program and libc. */
async function fakeClock(folder: string): Promise<string> {
  const files = await output(["dpkg", "--listfiles", "libfaketime"]).catch(() => "");
  const library = files.split("\n").find((path) => path.endsWith("/libfaketimeMT.so.1"));
  if (library === undefined)
    throw new TestbedError("clocks need libfaketime: install Debian's package faketime, or run tools/setup testing");
  const variables = {
    LD_PRELOAD: library,
    FAKETIME_TIMESTAMP_FILE: `${folder}/$(hostname)/clock`,
    FAKETIME_CACHE_DURATION: "1",
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
    NO_FAKE_STAT: "1",
  };
  return Object.entries(variables)
    .map(([name, value]) => `export ${name}="${value}"\n`)
    .join("");
}
