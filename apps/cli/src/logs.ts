/** Prints log lines as they come. */
import { once } from "node:events";
import { styleText } from "node:util";
import { Flags } from "@oclif/core";
import { ApiError, LogsRequest_Runs, type LogLine } from "@warren/api";
import type { ApiClient } from "@warren/api/client";
import { slotNumber } from "@warren/api/model";
import { printable } from "./output.ts";
import { parseMoment, UnitError } from "./units.ts";
import { shortId, taskName } from "./views.ts";

export const logFlags = {
  follow: Flags.boolean({ char: "f", description: "Keep printing new lines" }),
  since: Flags.string({ description: "Only lines after this: 10m (ago) or 2026-11-24T10:00:00Z", helpValue: "TIME" }),
  tail: Flags.string({
    char: "n",
    description: "Only the last N lines of each task, or all (default all)",
    helpValue: "N",
  }),
  timestamps: Flags.boolean({ char: "t", description: "Print the time before each line" }),
  "no-names": Flags.boolean({ description: "Print no task name before each line" }),
  previous: Flags.boolean({
    char: "p",
    description: "Instead of the current tasks, those that ended before them",
    exclusive: ["all", "follow"],
  }),
  all: Flags.boolean({ char: "a", description: "Current tasks and those that ended before them" }),
};

interface LogFlagValues {
  readonly follow: boolean;
  readonly since?: string | undefined;
  readonly tail?: string | undefined;
  readonly timestamps: boolean;
  readonly "no-names": boolean;
  readonly previous: boolean;
  readonly all: boolean;
}

/** Lines of stdout go to stdout, those of stderr to stderr. Ends with the lines, or quietly at `signal`. */
export async function followLogs(
  client: ApiClient,
  ref: string,
  flags: LogFlagValues,
  signal: AbortSignal,
): Promise<void> {
  const since = flags.since === undefined ? undefined : parseMoment(flags.since, Date.now());
  const runs = flags.all ? LogsRequest_Runs.ALL : flags.previous ? LogsRequest_Runs.PREVIOUS : LogsRequest_Runs.CURRENT;
  const request = { ref, follow: flags.follow, since, tail: parseTail(flags.tail), runs };
  // Of one slot there is one task before the current one, of a service there may be any number.
  const prefixes = new Prefixes(flags.all || (flags.previous && !ref.includes(".")));
  try {
    for await (const { lines } of client.tasks.logs(request, { signal })) {
      for (const line of lines) {
        const stream = line.stderr ? process.stderr : process.stdout;
        if (!stream.write(formatLine(line, flags, prefixes.isMixed(line)))) await once(stream, "drain");
      }
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Lines of a task that ended which are shown with its end. */
const lastLineCount = 5;

/** What a task wrote last; nothing where its node can't say it soon. */
export async function lastLines(client: ApiClient, taskId: string): Promise<readonly string[]> {
  const found: string[] = [];
  try {
    const request = { ref: taskId, tail: lastLineCount };
    for await (const { lines } of client.tasks.logs(request, { signal: AbortSignal.timeout(2_000) }))
      found.push(...lines.map(({ line }) => printable(line.toString())));
  } catch (error) {
    if (!ApiError.is(error)) throw error;
  }
  return found;
}

/** Docker's: a number, or `all`. @throws UnitError */
function parseTail(text: string | undefined): number | undefined {
  if (text === undefined || text === "all") return undefined;
  const lines = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (lines <= mostTail) return lines;
  throw new UnitError(`--tail: '${text}' is not a number of lines: give 0 or more, or all`);
}
const mostTail = 2 ** 32 - 1;

const colors = ["cyan", "magenta", "yellow", "green", "blue"] as const;

/** Whether a line says which task of its slot wrote it: once lines of several are mixed. */
export class Prefixes {
  readonly #always: boolean;
  /** By slot, whose lines were seen last. */
  readonly #tasks = new Map<string, string>();
  readonly #mixed = new Set<string>();

  constructor(always: boolean) {
    this.#always = always;
  }

  isMixed(line: LogLine): boolean {
    const slot = taskName(line);
    const before = this.#tasks.get(slot);
    if (before !== undefined && before !== line.taskId) this.#mixed.add(slot);
    this.#tasks.set(slot, line.taskId);
    return this.#always || this.#mixed.has(slot);
  }
}

/**
 * The container's bytes are passed on as they are. Pure.
 *
 * @param withRun the beginning of the task's id is in the prefix, too: `web.1 2kq0c8n6x1m3 | text`
 */
export function formatLine(
  line: LogLine,
  flags: { readonly timestamps: boolean; readonly "no-names": boolean },
  withRun: boolean = false,
): Buffer {
  const name = withRun ? `${taskName(line)} ${shortId(line.taskId)}` : taskName(line);
  const color = colors[slotNumber(line.slot) % colors.length] ?? "cyan";
  const stream = line.stderr ? process.stderr : process.stdout;
  const names = flags["no-names"] ? "" : `${styleText(color, name, { stream })} | `;
  const time = flags.timestamps ? `${line.at?.toISOString() ?? ""} ` : "";
  return Buffer.concat([Buffer.from(names + time), line.line, Buffer.from("\n")]);
}
