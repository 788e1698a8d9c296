import { Flags } from "@oclif/core";
import { Event, ListEventsResponse } from "@warren/api";
import { toJson } from "../json.ts";
import { printable, render, type Format } from "../output.ts";
import { pages } from "../pages.ts";
import { parseMoment } from "../units.ts";
import { eventColumns, timeText } from "../views.ts";
import { outputFlag, WarrenCommand } from "../warren-command.ts";

export class Events extends WarrenCommand {
  static override summary = "Show what happened in the cluster.";
  static override flags = {
    ...outputFlag,
    follow: Flags.boolean({
      char: "f",
      description: "Keep printing new events; with -o json, one object on each line",
    }),
    since: Flags.string({
      description: "Only events after this: 10m (ago) or 2026-11-24T10:00:00Z",
      helpValue: "TIME",
    }),
    timestamps: Flags.boolean({ char: "t", description: "Show exact times" }),
    object: Flags.string({
      description: "Only events of this object: its name, its id or the beginning of it",
      helpValue: "OBJECT",
    }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Events);
    const client = await this.connect(flags.host);
    const since = flags.since === undefined ? undefined : parseMoment(flags.since, Date.now());
    const ref = flags.object ?? "";
    if (!flags.follow) {
      const events = await pages(
        (page) => client.events.list({ page, since, ref }),
        (answer) => answer.events,
      );
      return this.print(flags.output, {
        rows: events,
        columns: eventColumns(timeText(flags.timestamps, Date.now())),
        name: ({ meta }) => meta?.id ?? "",
        json: () => toJson(ListEventsResponse, { events, nextPageToken: "" }),
      });
    }
    const signal = this.interrupted;
    try {
      for await (const event of client.events.follow({ since, ref }, { signal })) {
        process.stdout.write(`${await line(event, flags.output as Format)}\n`);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
}

/** One event, without waiting for others to align with. */
async function line(event: Event, format: Format): Promise<string> {
  switch (format) {
    case "table":
      // A line that stays on the screen keeps its meaning only with its time.
      return eventColumns(timeText(true, 0))
        .map(({ value }) => printable(value(event)))
        .join("  ");
    case "json":
      return JSON.stringify(await toJson(Event, event));
    case "yaml":
    case "name": {
      const json = (): Promise<unknown> => toJson(Event, event);
      const text = await render(format, {
        rows: [event],
        columns: [],
        name: ({ meta }) => meta?.id ?? "",
        json,
      });
      return format === "yaml" ? `---\n${text}` : text;
    }
  }
}
