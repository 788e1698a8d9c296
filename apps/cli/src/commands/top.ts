import { Args, Flags } from "@oclif/core";
import { delay, systemClock } from "@warren/std";
import { StatsResponse, type TaskStats } from "@warren/api";
import type { ApiClient } from "@warren/api/client";
import { toJson } from "../json.ts";
import { table, type Column } from "../output.ts";
import { formatBytes, longestTimerMs, parseDuration, UnitError } from "../units.ts";
import { shortId, taskName } from "../views.ts";
import { outputFlag, WarrenCommand } from "../warren-command.ts";
import { hostnames } from "../hostnames.ts";

/** CPU use is the difference of two answers; this far apart for one look, ms. */
const sampleMs = 500;

const sortOrders = ["cpu", "memory", "name", "pids", "read", "written"] as const;
export type SortOrder = (typeof sortOrders)[number];

/** What the keys do, for people. */
const keysText = "sort by c CPU, m memory, n name, p processes, r read, w written; q quits";

interface Row {
  readonly stats: TaskStats;
  /** Of one core; undefined at the first look. */
  readonly cpuShare: number | undefined;
}

export class Top extends WarrenCommand {
  static override summary = "Show the processor time, memory and disk that running tasks use.";
  static override description = `On a terminal it is refreshed; keys there: ${keysText}.`;
  static override usage = "top [SERVICE|TASK…]";
  static override examples = ["<%= config.bin %> top web --sort memory", "<%= config.bin %> top --once"];
  static override strict = false;
  static override args = { ref: Args.string({ description: "Services or tasks (default: all)" }) };
  static override flags = {
    ...outputFlag,
    once: Flags.boolean({ description: "Show it once and end; on a terminal it is refreshed otherwise" }),
    interval: Flags.string({ description: "Time between two refreshes", default: "2s", helpValue: "DURATION" }),
    sort: Flags.string({
      description: "What is most comes first; names in their order",
      options: [...sortOrders],
      default: "cpu",
    }),
  };

  async run(): Promise<void> {
    const { argv, flags } = await this.parse(Top);
    const intervalMs = parseDuration(flags.interval, longestTimerMs);
    if (intervalMs < 100) throw new UnitError("--interval: give 100ms or more");
    const client = await this.connect(flags.host);
    const refs = argv as string[];
    const first = await client.tasks.stats({ refs });
    if (flags.output !== "table") {
      return this.print(flags.output, {
        rows: first.stats,
        columns: [],
        name: ({ taskId }) => taskId,
        json: () => toJson(StatsResponse, first),
      });
    }
    const names = await hostnames(client);
    if (flags.once || !process.stdout.isTTY) {
      await delay(systemClock, sampleMs);
      process.stdout.write(`${view(first, await client.tasks.stats({ refs }), names, flags.sort as SortOrder)}\n`);
      return;
    }
    await this.#repeat(client, refs, { first, intervalMs, names, sort: flags.sort as SortOrder });
  }

  /** Writes over itself until interrupted, or `q`. */
  async #repeat(client: ApiClient, refs: string[], { first, intervalMs, names, sort }: Repetition): Promise<void> {
    const { createLogUpdate } = await import("log-update");
    const update = createLogUpdate(process.stdout);
    const over = new AbortController();
    const signal = AbortSignal.any([this.interrupted, over.signal]);
    let [before, now] = [first, first];
    let order = sort;
    const show = (): void => update(`${view(before, now, names, order)}\n\n${keysText}`);
    using _keys = onKeys((key) => {
      const action = actionOf(key);
      if (action === "quit") over.abort();
      else if (action !== undefined) {
        order = action;
        if (now !== first) show();
      }
    });
    let waitMs = sampleMs;
    try {
      for (;;) {
        await delay(systemClock, waitMs, signal);
        [before, now] = [now, await client.tasks.stats({ refs }, { signal })];
        show();
        waitMs = intervalMs;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      update.done();
    }
  }
}

interface Repetition {
  readonly first: StatsResponse;
  readonly intervalMs: number;
  readonly names: ReadonlyMap<string, string>;
  readonly sort: SortOrder;
}

const sortKeys: Readonly<Record<string, SortOrder>> = {
  c: "cpu",
  m: "memory",
  n: "name",
  p: "pids",
  r: "read",
  w: "written",
};

/** What a key asks for; Ctrl-C is one where the terminal passes on every key. Pure. */
export function actionOf(key: string): SortOrder | "quit" | undefined {
  return key === "q" || key === "\u0003" ? "quit" : sortKeys[key];
}

/** Each key as it is typed, and the terminal as it was at the end. Nothing where stdin is none. */
function onKeys(listener: (key: string) => void): Disposable {
  const { stdin } = process;
  if (!stdin.isTTY) return { [Symbol.dispose]: () => undefined };
  const onData = (data: Buffer): void => {
    for (const key of data.toString()) listener(key);
  };
  stdin.setRawMode(true);
  stdin.on("data", onData);
  return {
    [Symbol.dispose]() {
      stdin.off("data", onData);
      stdin.setRawMode(false);
      stdin.pause();
    },
  };
}

/** Two answers as a table. Pure. */
export function view(
  before: StatsResponse,
  now: StatsResponse,
  names: ReadonlyMap<string, string>,
  sort: SortOrder = "cpu",
): string {
  const earlier = new Map(before.stats.map((stats) => [stats.taskId, stats]));
  const most = (of: (row: Row) => number) => (a: Row, b: Row) => of(b) - of(a);
  const orders: Readonly<Record<SortOrder, (a: Row, b: Row) => number>> = {
    cpu: most(({ cpuShare: share }) => share ?? 0),
    memory: most(({ stats }) => stats.memoryBytes),
    pids: most(({ stats }) => stats.pids),
    read: most(({ stats }) => stats.readBytes),
    written: most(({ stats }) => stats.writeBytes),
    // As the answer has them.
    name: () => 0,
  };
  const rows = now.stats
    .map((stats) => ({ stats, cpuShare: cpuShare(earlier.get(stats.taskId), stats) }))
    .toSorted((a, b) => orders[sort](a, b) || (sort === "name" ? 0 : orders.memory(a, b)));
  const missing = now.unreachableNodes.map((id) => names.get(id) ?? shortId(id));
  const note = missing.length === 0 ? "" : `\nno answer from: ${missing.join(", ")}`;
  return table(rows, columns(names)) + note;
}

function cpuShare(before: TaskStats | undefined, now: TaskStats): number | undefined {
  const ms = (now.at?.getTime() ?? 0) - (before?.at?.getTime() ?? 0);
  if (before === undefined || ms <= 0) return undefined;
  return Math.max(0, now.cpuUsageNs - before.cpuUsageNs) / (ms * 1e6);
}

function columns(names: ReadonlyMap<string, string>): readonly Column<Row>[] {
  return [
    { title: "TASK", value: ({ stats }) => taskName(stats) },
    { title: "NODE", value: ({ stats }) => names.get(stats.nodeId) ?? shortId(stats.nodeId) },
    { title: "CPU", value: ({ cpuShare: share }) => (share === undefined ? "" : `${(share * 100).toFixed(1)} %`) },
    { title: "MEMORY", value: ({ stats }) => formatBytes(stats.memoryBytes) },
    { title: "LIMIT", value: ({ stats }) => (stats.memoryLimitBytes === 0 ? "" : formatBytes(stats.memoryLimitBytes)) },
    { title: "PIDS", value: ({ stats }) => String(stats.pids) },
    { title: "READ", value: ({ stats }) => formatBytes(stats.readBytes) },
    { title: "WRITTEN", value: ({ stats }) => formatBytes(stats.writeBytes) },
  ];
}
