import type { LogLine, LogLines } from "@warren/api";
import { mergeSorted } from "@warren/std";

/** Lines of one answer. */
const batchLines = 500;

/**
 * Lines of several streams, each ordered by time, as one that is. A line without a time keeps its place behind the line
 * before it. A stream that fails does not take away the lines of the others: they come first, then its failure.
 */
export async function* mergeByTime(streams: readonly AsyncIterable<LogLines>[]): AsyncGenerator<LogLines, void, void> {
  let batch: LogLine[] = [];
  const merged = mergeSorted(streams.map(linesOf), (a, b) => compareTimes(timeOf(a), timeOf(b)), { failures: "last" });
  try {
    for await (const line of merged) {
      batch.push(line);
      if (batch.length < batchLines) continue;
      yield { lines: batch };
      batch = [];
    }
  } catch (error) {
    if (batch.length > 0) yield { lines: batch };
    throw error;
  }
  if (batch.length > 0) yield { lines: batch };
}

async function* linesOf(stream: AsyncIterable<LogLines>): AsyncGenerator<LogLine, void, void> {
  for await (const { lines } of stream) yield* lines;
}

function timeOf({ at }: LogLine): number {
  return at?.getTime() ?? Number.NEGATIVE_INFINITY;
}

/** Two lines without a time are equal, and no number. */
function compareTimes(a: number, b: number): number {
  return a === b ? 0 : a - b;
}
