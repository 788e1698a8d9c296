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

interface Row {
  readonly stats: TaskStats;
  /** Of one core; undefined at the first look. */
  readonly cpuShare: number | undefined;
}

export class Top extends WarrenCommand {
  static override summary = "Show the processor time, memory and disk that running tasks use.";
  static override usage = "top [SERVICE|TASK…]";
  static override strict = false;
  static override args = { ref: Args.string({ description: "Services or tasks (default: all)" }) };
  static override flags = {
    ...outputFlag,
    once: Flags.boolean({ description: "Show it once and end; on a terminal it is refreshed otherwise" }),
    interval: Flags.string({ description: "Time between two refreshes", default: "2s", helpValue: "DURATION" }),
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
      process.stdout.write(`${view(first, await client.tasks.stats({ refs }), names)}\n`);
      return;
    }
    await this.#repeat(client, refs, first, intervalMs, names);
  }

  /** Writes over itself until interrupted. */
  async #repeat(
    client: ApiClient,
    refs: string[],
    first: StatsResponse,
    intervalMs: number,
    names: ReadonlyMap<string, string>,
  ): Promise<void> {
    const { createLogUpdate } = await import("log-update");
    const update = createLogUpdate(process.stdout);
    const signal = this.interrupted;
    let before = first;
    let waitMs = sampleMs;
    try {
      for (;;) {
        await delay(systemClock, waitMs, signal);
        const now = await client.tasks.stats({ refs }, { signal });
        update(view(before, now, names));
        before = now;
        waitMs = intervalMs;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      update.done();
    }
  }
}

/** Two answers as a table, the busiest task first. Pure. */
export function view(before: StatsResponse, now: StatsResponse, names: ReadonlyMap<string, string>): string {
  const earlier = new Map(before.stats.map((stats) => [stats.taskId, stats]));
  const rows = now.stats
    .map((stats) => ({ stats, cpuShare: cpuShare(earlier.get(stats.taskId), stats) }))
    .toSorted((a, b) => (b.cpuShare ?? 0) - (a.cpuShare ?? 0) || b.stats.memoryBytes - a.stats.memoryBytes);
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
