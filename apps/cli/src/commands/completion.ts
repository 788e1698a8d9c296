import { Args } from "@oclif/core";
import { slotName } from "@warren/api/model";
import { candidates, completionScript, shells, type CommandShape, type Shell } from "../completion.ts";
import { WarrenCommand } from "../warren-command.ts";

export class Completion extends WarrenCommand {
  static override summary = "Print the completion script of a shell.";
  static override description =
    "bash: source <(warren completion bash). zsh: source <(warren completion zsh). fish: warren completion fish | source.";
  static override args = {
    shell: Args.string({ required: true, options: [...shells], description: "Name of the shell" }),
  };

  async run(): Promise<void> {
    const { args } = await this.parse(Completion);
    process.stdout.write(completionScript(args.shell as Shell));
  }
}

/** What the scripts ask for each TAB: the words so far, the one at the cursor last. */
export class Complete extends WarrenCommand {
  static override hidden = true;
  static override strict = false;
  static override summary = "Print what could stand at the cursor, a candidate a line.";

  async run(): Promise<void> {
    const words = this.argv.slice(this.argv.indexOf("--") + 1);
    const commands: CommandShape[] = this.config.commands
      .filter(({ hidden }) => !hidden)
      .map(({ id, flags, args }) => ({
        words: id.split(":"),
        args: Object.keys(args),
        flags: Object.values(flags).map(({ name, type, ...flag }) => ({
          name,
          takesValue: type === "option",
          options: "options" in flag ? (flag.options ?? []) : [],
        })),
      }));
    const found = candidates(commands, words);
    const names = found.names === undefined ? [] : await this.#names(found.names, found.host);
    for (const word of [...found.words, ...names]) process.stdout.write(`${word}\n`);
  }

  /** Names of objects; none where no manager answers, since a completion must not get in the way. */
  async #names(
    kind: "service" | "task" | "node" | "network" | "registry" | "volume",
    host: string | undefined,
  ): Promise<string[]> {
    try {
      const client = await this.connect(host ?? process.env["WARREN_HOST"] ?? "unix:/run/warren/manager.sock");
      const options = { deadlineMs: 1_000 };
      switch (kind) {
        case "service":
          return (await client.services.list({}, options)).services.map(({ spec }) => spec?.name ?? "");
        case "task":
          return (await client.tasks.list({}, options)).tasks.map(slotName);
        case "node":
          return (await client.nodes.list({}, options)).nodes.map(({ description }) => description?.hostname ?? "");
        case "network":
          return (await client.networks.list({}, options)).networks.map(({ spec }) => spec?.name ?? "");
        case "volume":
          return [...new Set((await client.volumes.list({}, options)).volumes.map(({ name }) => name))];
        case "registry":
          return (await client.registries.list({}, options)).registries.map(({ registry }) => registry);
      }
    } catch {
      return [];
    }
  }
}
