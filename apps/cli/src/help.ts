/** Help in two layers: what most need, and with `--help-all` every flag. */
import { join } from "node:path";
import { Config, Help, type Command } from "@oclif/core";
import { commandTable } from "./command-table.ts";
import type { WarrenCommand } from "./warren-command.ts";

export interface HelpRoute {
  /** Of a command or topic; none for all of them. */
  readonly words: readonly string[];
  readonly all: boolean;
}

export async function showHelp({ words, all }: HelpRoute, version: string): Promise<void> {
  const config = await Config.load({ root: join(import.meta.dirname, "..") });
  Object.assign(config, { userAgent: version });
  const command = (await commandTable[words.join(":")]?.()) as typeof WarrenCommand | undefined;
  const help = new WarrenHelp(config, all ? undefined : command?.commonFlags);
  await help.showHelp([...words]);
}

class WarrenHelp extends Help {
  /** Undefined: all are shown. */
  readonly #common: readonly string[] | undefined;

  constructor(config: Config, common: readonly string[] | undefined) {
    super(config, { flagSortOrder: "none", maxWidth: 100 });
    this.#common = common;
  }

  override formatCommand(command: Command.Loadable): string {
    const common = this.#common;
    if (common === undefined) return super.formatCommand(command);
    // In the order of `commonFlags`, which is by need, and in one group.
    const shown = common.flatMap((name) => {
      const flag = command.flags[name];
      if (flag === undefined) return [];
      const { helpGroup: _grouped, ...rest } = flag;
      return [[name, rest] as const];
    });
    const text = super.formatCommand({ ...command, flags: Object.fromEntries(shown) });
    const more = Object.keys(command.flags).length - shown.length;
    return `${text}\n\n${more} more flags: warren ${command.id.replaceAll(":", " ")} --help-all`;
  }

  protected override async showRootHelp(): Promise<void> {
    await super.showRootHelp();
    process.stdout.write(
      `More on each: warren help TOPIC, warren COMMAND --help. Coming from Docker: docs/from-docker.md\n`,
    );
  }
}
