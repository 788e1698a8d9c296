import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Holder } from "./namespaces.ts";
import type { Cut, Slow } from "./network-switch.ts";

/** A daemon that ran, as it can be started again. */
export interface Daemon {
  readonly name: string;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export interface HostState {
  readonly address: string;
  /** Undefined while it has no power. */
  readonly holder: Holder | undefined;
  /** Between it and the switch, where it is behind a router. */
  readonly router: Holder | undefined;
  /** Between it (or its router) and the switch, where what it sends or gets is slowed. */
  readonly wire: Holder | undefined;
  /** What starts with the host, since it ran when its power was cut; and what was killed since. */
  readonly stopped: readonly Daemon[];
}

/** What is known of a test bed between two commands. */
export interface State {
  /** Hosts have wall clocks of their own. */
  readonly clocks: boolean;
  readonly hosts: Readonly<Record<string, HostState>>;
  readonly switch: Holder;
  readonly registry: Holder;
  readonly cuts: readonly Cut[];
  readonly slow: readonly Slow[];
}

function fileOf(folder: string): string {
  return join(folder, "state.json");
}

/** Undefined where there is none. */
export async function readState(folder: string): Promise<State | undefined> {
  const text = await readFile(fileOf(folder), "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
  return text === undefined ? undefined : (JSON.parse(text) as State);
}

export async function writeState(folder: string, state: State): Promise<void> {
  const path = fileOf(folder);
  await writeFile(`${path}.new`, `${JSON.stringify(state, undefined, 2)}\n`);
  await rename(`${path}.new`, path);
}
