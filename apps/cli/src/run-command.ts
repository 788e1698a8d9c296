/** Runs one command, of which alone it loads anything. */
import { join } from "node:path";
import { Config, Errors, flush, type Command } from "@oclif/core";
import { commandTable } from "./command-table.ts";

/** @param id of `commandTable` */
export async function runCommand(id: string, argv: readonly string[], version: string): Promise<void> {
  const command = await commandTable[id]?.();
  if (command === undefined) throw new Error(`assertion failed: ${id} is in the table`);
  try {
    await run(command, id, argv, version);
  } catch (error) {
    if (!(error instanceof Errors.ExitError)) throw error;
    await flush();
    process.exit(error.oclif.exit);
  }
  await flush();
}

async function run(command: Command.Class, id: string, argv: readonly string[], version: string): Promise<void> {
  const root = join(import.meta.dirname, "..");
  const config = new Config({ root });
  // What only looks at all commands needs them all; loading them is most of the time that a short command takes.
  if (id === "complete") await config.load();
  // There are no plug-ins, and so no hooks.
  else Object.assign(config, { bin: "warren", name: "@warren/cli", root, version, runHook: noHooks });
  command.id = id;
  type Runnable = new (argv: string[], config: Config) => { _run(): Promise<unknown> };
  await new (command as unknown as Runnable)([...argv], config)._run();
}

function noHooks(): Promise<{ readonly successes: readonly []; readonly failures: readonly [] }> {
  return Promise.resolve({ successes: [], failures: [] });
}
