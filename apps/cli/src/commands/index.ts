/** Every command, for what looks at all of them: help and completion. */
import type { Command } from "@oclif/core";
import { commandTable } from "../command-table.ts";

const loaded = Object.entries(commandTable).map(async ([id, load]) => [id, await load()] as const);

export const commands: Readonly<Record<string, Command.Class>> = Object.fromEntries(await Promise.all(loaded));
