import { styleText } from "node:util";
import { Args, Flags } from "@oclif/core";
import { ExplainResponse, type Reason } from "@warren/api";
import { toJson } from "../json.ts";
import { slotKeyText } from "@warren/api/model";
import { printable, type Column } from "../output.ts";
import { timeText } from "../views.ts";
import { outputFlag, WarrenCommand } from "../warren-command.ts";

const columnsAt = (when: (at: Date | undefined) => string): readonly Column<Reason>[] => [
  { title: "WHEN", value: ({ at }) => when(at) },
  { title: "SLOT", value: ({ slot }) => slotKeyText(slot) },
  { title: "REASON", value: ({ text }) => text },
  { title: "WHAT WOULD HELP", value: ({ remedy }) => remedy },
];

export class Why extends WarrenCommand {
  static override summary = "Explain why a service or task is in its present state.";
  static override args = {
    ref: Args.string({ required: true, description: "Service, or task as SERVICE.SLOT or id" }),
  };
  static override flags = {
    ...outputFlag,
    timestamps: Flags.boolean({ char: "t", description: "Show exact times" }),
  };

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
      columns: columnsAt(timeText(flags.timestamps, Date.now())),
      name: ({ taskId }) => taskId,
      json: () => toJson(ExplainResponse, answer),
    });
  }
}
