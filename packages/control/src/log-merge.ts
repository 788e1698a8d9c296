import type { LogLine, LogLines } from "@warren/api";

/** Lines of one answer. */
const batchLines = 500;

interface Source {
  readonly iterator: AsyncIterator<LogLines>;
  lines: readonly LogLine[];
  at: number;
}

/**
 * Lines of several streams, each ordered by time, as one that is. What does not say its time keeps its place behind the
 * line before it. A stream that fails does not take away the lines of the others: they come first, then its failure.
 */
export async function* mergeByTime(streams: readonly AsyncIterable<LogLines>[]): AsyncGenerator<LogLines, void, void> {
  const failures: unknown[] = [];
  const sources: Source[] = streams.map((stream) => ({
    iterator: stream[Symbol.asyncIterator](),
    lines: [],
    at: 0,
  }));
  const fill = async (source: Source): Promise<boolean> => {
    try {
      while (source.at >= source.lines.length) {
        const next = await source.iterator.next();
        if (next.done === true) return false;
        source.lines = next.value.lines;
        source.at = 0;
      }
      return true;
    } catch (error) {
      failures.push(error);
      return false;
    }
  };
  try {
    const filled = await Promise.all(sources.map(fill));
    let open = sources.filter((_, index) => filled[index]);
    let batch: LogLine[] = [];
    while (open.length > 0) {
      const [first = open[0] as Source] = open.toSorted((a, b) => timeOf(a) - timeOf(b));
      batch.push(first.lines[first.at++] as LogLine);
      if (batch.length >= batchLines) {
        yield { lines: batch };
        batch = [];
      }
      if (first.at >= first.lines.length && !(await fill(first))) open = open.filter((source) => source !== first);
    }
    if (batch.length > 0) yield { lines: batch };
  } finally {
    for (const { iterator } of sources) iterator.return?.()?.then(undefined, () => undefined);
  }
  if (failures.length > 0) throw failures[0];
}

function timeOf({ lines, at }: Source): number {
  return lines[at]?.at?.getTime() ?? Number.NEGATIVE_INFINITY;
}
