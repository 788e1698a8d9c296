/** Prints log lines as they come. */
import { once } from "node:events";
import { styleText } from "node:util";
import { Flags } from "@oclif/core";
import { ApiError, type LogLine } from "@warren/api";
import type { ApiClient } from "@warren/api/client";
import { slotNumber } from "@warren/api/model";
import { printable } from "./output.ts";
import { parseMoment, UnitError } from "./units.ts";
import { taskName } from "./views.ts";

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
};

interface LogFlagValues {
  readonly follow: boolean;
  readonly since?: string | undefined;
  readonly tail?: string | undefined;
  readonly timestamps: boolean;
  readonly "no-names": boolean;
}

/** Lines of stdout go to stdout, those of stderr to stderr. Ends with the lines, or quietly at `signal`. */
export async function followLogs(
  client: ApiClient,
  ref: string,
  flags: LogFlagValues,
  signal: AbortSignal,
): Promise<void> {
  const since = flags.since === undefined ? undefined : parseMoment(flags.since, Date.now());
  const request = { ref, follow: flags.follow, since, tail: parseTail(flags.tail) };
  try {
    for await (const { lines } of client.tasks.logs(request, { signal })) {
      for (const line of lines) {
        const stream = line.stderr ? process.stderr : process.stdout;
        if (!stream.write(formatLine(line, flags))) await once(stream, "drain");
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

/** The container's bytes are passed on as they are. Pure. */
export function formatLine(
  line: LogLine,
  flags: { readonly timestamps: boolean; readonly "no-names": boolean },
): Buffer {
  const name = taskName(line);
  const color = colors[slotNumber(line.slot) % colors.length] ?? "cyan";
  const names = flags["no-names"] ? "" : `${styleText(color, name, { stream: process.stdout })} | `;
  const time = flags.timestamps ? `${line.at?.toISOString() ?? ""} ` : "";
  return Buffer.concat([Buffer.from(names + time), line.line, Buffer.from("\n")]);
}
