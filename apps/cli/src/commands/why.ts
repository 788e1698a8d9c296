import { styleText } from "node:util";
import { Args } from "@oclif/core";
import { ExplainResponse, type Reason } from "@warren/api";
import { toJson } from "@warren/api/json";
import { slotKeyText } from "@warren/api/model";
import { printable, type Column } from "../output.ts";
import { outputFlag, WarrenCommand } from "../warren-command.ts";

const columns: readonly Column<Reason>[] = [
  { title: "AT", value: ({ at }) => at?.toISOString() ?? "" },
  { title: "SLOT", value: ({ slot }) => slotKeyText(slot) },
  { title: "REASON", value: ({ text }) => text },
  { title: "WHAT WOULD HELP", value: ({ remedy }) => remedy },
];

export class Why extends WarrenCommand {
  static override summary = "Say why a service or task is as it is.";
  static override args = {
    ref: Args.string({ required: true, description: "a service, or a task as SERVICE.SLOT or id" }),
  };
  static override flags = outputFlag;

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Why);
    const client = await this.connect(flags.host);
    const answer = await client.services.explain({ ref: args.ref });
    if (flags.output === "table") {
      process.stdout.write(
        `${styleText("bold", answer.name, { stream: process.stdout })}: ${printable(answer.summary)}\n`,
      );
      if (answer.reasons.length === 0) return;
    }
    await this.print(flags.output, {
      rows: answer.reasons,
      columns,
      name: ({ taskId }) => taskId,
      json: () => toJson(ExplainResponse, answer),
    });
  }
}
