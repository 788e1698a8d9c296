/**
 * Whether a history is linearizable: whether its operations, each at one moment between its call and its return, can be
 * put in an order in which every output is what a register would have given.
 *
 * The search is Wing and Gong's, with Lowe's memory of what was tried, and key by key, since registers are independent
 * (Herlihy and Wing: a history is linearizable if it is so object by object). An operation whose outcome is unknown has
 * no return: it may take effect at any later moment, or never.
 */
import type { Operation } from "./history.ts";

export type Verdict =
  | { readonly linearizable: true }
  /** `longest`: as many operations as could be ordered; the ones that then could not come next. */
  | {
      readonly linearizable: false;
      readonly key: string;
      readonly longest: number;
      readonly stuck: readonly Operation[];
    }
  /** The search was given up: neither is known. */
  | { readonly linearizable: undefined; readonly key: string };

/** States looked at, in one key, before the search is given up. */
const searchLimit = 300_000;

/** Judges a history; those of its operations that failed must have had no effect, which the others' outputs show. */
export function checkLinearizable(history: readonly Operation[], limit: number = searchLimit): Verdict {
  for (const [key, operations] of Map.groupBy(history, ({ key }) => key)) {
    const verdict = checkRegister(key, operations, limit);
    if (verdict.linearizable !== true) return verdict;
  }
  return { linearizable: true };
}

/** The register's value after an operation, or `undefined` if the operation can't have had its output. */
function after(value: string, { kind, value: written = "", expect, outcome, output }: Operation): string | undefined {
  const seen = (would: string): boolean => outcome === "unknown" || output === would;
  switch (kind) {
    case "read":
      return seen(value) ? value : undefined;
    case "put":
      return seen(value) ? written : undefined;
    case "append":
      return seen(value + written) ? value + written : undefined;
    case "cas": {
      const swaps = value === expect;
      if (!seen(swaps ? "yes" : "no")) return undefined;
      return swaps ? written : value;
    }
  }
}

interface Frame {
  readonly value: string;
  /** Position of the operation that was tried last. */
  at: number;
}

function checkRegister(key: string, all: readonly Operation[], limit: number): Verdict {
  // A failed operation never took effect; a read whose answer nobody got says nothing.
  const operations = all
    .filter(({ outcome, kind }) => outcome !== "fail" && !(outcome === "unknown" && kind === "read"))
    .sort((a, b) => a.call - b.call);
  const returns = operations.map((operation) => operation.return ?? Number.POSITIVE_INFINITY);
  const certain = operations.filter(({ outcome }) => outcome === "ok").length;
  const done = new Uint8Array(operations.length);
  const tried = new Set<string>();
  const stack: Frame[] = [{ value: "", at: -1 }];
  let ordered = 0;
  let longest = -1;
  let stuck: Operation[] = [];
  let states = 0;
  while (stack.length > 0) {
    const frame = stack.at(-1) as Frame;
    if (ordered === certain) return { linearizable: true };
    const next = nextCandidate(operations, returns, done, frame);
    if (next === undefined) {
      if (ordered > longest) {
        longest = ordered;
        stuck = candidates(operations, returns, done);
      }
      stack.pop();
      const undone = stack.at(-1)?.at;
      if (undone === undefined) break;
      done[undone] = 0;
      if (operations[undone]?.outcome === "ok") ordered--;
      continue;
    }
    frame.at = next.at;
    done[next.at] = 1;
    const memory = `${Buffer.from(done.buffer).toString("latin1")}${next.value}`;
    if (tried.has(memory)) {
      done[next.at] = 0;
      continue;
    }
    tried.add(memory);
    if (++states > limit) return { linearizable: undefined, key };
    if (operations[next.at]?.outcome === "ok") ordered++;
    stack.push({ value: next.value, at: -1 });
  }
  return { linearizable: false, key, longest, stuck };
}

/** The next operation after the frame's that may come now: none that is not done returned before its call. */
function nextCandidate(
  operations: readonly Operation[],
  returns: readonly number[],
  done: Uint8Array,
  frame: Frame,
): { at: number; value: string } | undefined {
  let earliest = Number.POSITIVE_INFINITY;
  for (let at = 0; at < operations.length; at++) {
    if (done[at] === 1) continue;
    const operation = operations[at] as Operation;
    // Sorted by call: whatever follows was called later still.
    if (operation.call > earliest) return undefined;
    earliest = Math.min(earliest, returns[at] as number);
    if (at <= frame.at) continue;
    const value = after(frame.value, operation);
    if (value !== undefined) return { at, value };
  }
  return undefined;
}

function candidates(operations: readonly Operation[], returns: readonly number[], done: Uint8Array): Operation[] {
  let earliest = Number.POSITIVE_INFINITY;
  return operations.filter((operation, at) => {
    if (done[at] === 1 || operation.call > earliest) return false;
    earliest = Math.min(earliest, returns[at] as number);
    return true;
  });
}
