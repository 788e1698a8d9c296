import { styleText } from "node:util";
import { Args, Flags } from "@oclif/core";
import { ExplainResponse, ObjectKind, type Reason, type WatchRequest } from "@warren/api";
import type { ApiClient } from "@warren/api/client";
import { Changes, TaskGroup } from "@warren/std";
import { toJson } from "../json.ts";
import { slotKeyText } from "@warren/api/model";
import { lastLines } from "../logs.ts";
import { render, type Column, type Format, type Printable } from "../output.ts";
import { lineOutput } from "../progress-output.ts";
import { timeText } from "../views.ts";
import { outputFlag, WarrenCommand } from "../warren-command.ts";
import { whyAllText, whyText, type WhyView } from "../why-text.ts";

export class Why extends WarrenCommand {
  static override summary = "Explain why a service, task, node, network or published port is as it is.";
  static override examples = [
    "<%= config.bin %> why web",
    "<%= config.bin %> why web.1 --all",
    "<%= config.bin %> why :8080",
  ];
  static override fieldWords = { ref: "REF" };
  static override args = {
    ref: Args.string({
      required: true,
      description: "Service, task (web.1 or an id), node, network, or published port (:8080)",
    }),
  };
  static override flags = {
    ...outputFlag,
    all: Flags.boolean({ char: "a", description: "Show earlier events, too, the newest first" }),
    follow: Flags.boolean({ char: "f", description: "Show each change of the answer, until Ctrl-C" }),
    timestamps: Flags.boolean({ char: "t", description: "Show exact times" }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Why);
    const client = await this.connect(flags.host);
    const show = async (answer: ExplainResponse): Promise<string> => {
      if (flags.output === "json" && flags.follow) return JSON.stringify(await toJson(ExplainResponse, answer));
      if (flags.output !== "table") return render(flags.output as Format, printableOf(answer));
      return (flags.all ? whyAllText : whyText)(await viewOf(client, answer, flags.timestamps));
    };
    const answer = await client.services.explain({ ref: args.ref });
    if (!flags.follow) {
      const text = await show(answer);
      if (text !== "") process.stdout.write(`${text}\n`);
      return;
    }
    const output = lineOutput(process.stdout);
    let before: string | undefined;
    try {
      for await (const next of explanations(client, args.ref, answer, this.interrupted)) {
        // Times go on by themselves, so what is compared has none.
        const key = JSON.stringify(await toJson(ExplainResponse, next));
        if (key !== before) output.show(await show(next));
        before = key;
      }
    } catch (error) {
      if (!this.interrupted.aborted) throw error;
    } finally {
      output.end();
    }
  }
}

async function viewOf(client: ApiClient, answer: ExplainResponse, exact: boolean): Promise<WhyView> {
  return {
    answer,
    lastLines: answer.logTaskId === "" ? [] : await lastLines(client, answer.logTaskId),
    columns: process.stdout.isTTY ? process.stdout.columns : undefined,
    when: timeText(exact, Date.now()),
    bold: (text) => styleText("bold", text, { stream: process.stdout }),
  };
}

const columns: readonly Column<Reason>[] = [
  { title: "SLOT", value: ({ slot }) => slotKeyText(slot) },
  { title: "REASON", value: ({ text }) => text },
];

function printableOf(answer: ExplainResponse): Printable<Reason> {
  return {
    rows: answer.reasons,
    columns,
    name: ({ taskId }) => taskId,
    json: () => toJson(ExplainResponse, answer),
  };
}

/** What can change the answer about an object of a kind. */
function watchesOf({ kind, id }: ExplainResponse): readonly Partial<WatchRequest>[] {
  if (kind === ObjectKind.SERVICE) return [{ service: id }, { kinds: [ObjectKind.NODE] }];
  return [{ kinds: [ObjectKind.SERVICE, ObjectKind.TASK, ObjectKind.NODE, ObjectKind.NETWORK] }];
}

/** `first`, and the answer again after each change that may concern it. */
async function* explanations(
  client: ApiClient,
  ref: string,
  first: ExplainResponse,
  signal: AbortSignal,
): AsyncGenerator<ExplainResponse, void, void> {
  yield first;
  const changes = new Changes();
  let failure: { readonly error: unknown } | undefined;
  const fail = (error: unknown): void => {
    failure ??= { error };
    changes.notify();
  };
  let seen = changes.count;
  await using group = new TaskGroup((_, error) => fail(error), signal);
  for (const request of watchesOf(first))
    group.run("changes", async (ended) => {
      let isSynced = false;
      for await (const { message } of client.events.watch(request, { signal: ended })) {
        // From then on; what changed before that since the first answer is in the next.
        isSynced ||= message?.$case === "synced";
        if (isSynced) changes.notify();
      }
    });
  for (;;) {
    await changes.after(seen, signal);
    if (failure !== undefined) throw failure.error;
    // All that came while it was asked is in one answer.
    seen = changes.count;
    yield await client.services.explain({ ref }, { signal });
  }
}
