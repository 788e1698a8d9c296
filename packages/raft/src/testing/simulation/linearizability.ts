/**
 * Whether a history is linearizable: whether its operations, each at one moment between its call and its return, can be
 * put in an order in which every output is what a register would have given.
 *
 * The search is Wing and Gong's, with Lowe's memory of what was tried, and key by key, since registers are independent
 * (Herlihy and Wing: a history is linearizable if it is so object by object). An operation whose outcome is unknown has
 * no return: it may take effect at any later moment, or never.
 *
 * Two rules keep the search short. An operation that may come next, has its output then and leaves the value as it is
 * comes next: wherever else it stands in an order, it can be moved there. Operations whose outcome is unknown are tried
 * after the others: most orders need none of them.
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

/** States looked at, in one key, before the search is given up; of 100,000 worlds none comes near it. */
const searchLimit = 3_000_000;

/** Judges a history; those of its operations that failed must have had no effect, which the others' outputs show. */
export function checkLinearizable(history: readonly Operation[], limit: number = searchLimit): Verdict {
  for (const [key, operations] of Map.groupBy(history, ({ key }) => key)) {
    const verdict = checkRegister(key, operations, limit);
    if (verdict.linearizable !== true) return verdict;
  }
  return { linearizable: true };
}

/** The register's value after an operation, or `undefined` if the operation can't have had its output. */
function valueAfter(
  value: string,
  { kind, value: written = "", expect, outcome, output }: Operation,
): string | undefined {
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

/** An operation that may come next, and the register's value after it. */
interface Choice {
  readonly at: number;
  readonly value: string;
}

interface Frame {
  readonly value: string;
  /** The last operation, by position, of those that are ordered. */
  readonly latest: number;
  readonly choices: readonly Choice[];
  /** How many of them were tried. */
  tried: number;
}

function checkRegister(key: string, all: readonly Operation[], limit: number): Verdict {
  const search = new Search(all);
  const tried = new Set<string>();
  const stack: Frame[] = [search.frame("", -1)];
  let longest = -1;
  let stuck: readonly Operation[] = [];
  for (let frame = stack.at(-1); frame !== undefined; frame = stack.at(-1)) {
    if (search.left === 0) return { linearizable: true };
    const choice = frame.choices[frame.tried++];
    if (choice === undefined) {
      if (search.ordered > longest) {
        longest = search.ordered;
        stuck = search.candidates();
      }
      stack.pop();
      const above = stack.at(-1);
      if (above !== undefined) search.undo((above.choices[above.tried - 1] as Choice).at);
      continue;
    }
    search.order(choice.at);
    const next = search.frame(choice.value, Math.max(frame.latest, choice.at));
    const state = search.describe(next);
    if (tried.has(state)) {
      search.undo(choice.at);
      continue;
    }
    tried.add(state);
    if (tried.size > limit) return { linearizable: undefined, key };
    stack.push(next);
  }
  return { linearizable: false, key, longest, stuck };
}

/** The operations of a register, and which of them are not ordered yet: a list of positions, linked both ways. */
class Search {
  /** Of operations that took effect for certain: how many are ordered, and how many are not. */
  ordered = 0;
  left: number;
  private readonly operations: readonly Operation[];
  private readonly next: Int32Array;
  private readonly previous: Int32Array;
  /** Before the first and after the last position. */
  private readonly end: number;

  constructor(all: readonly Operation[]) {
    // A failed operation never took effect; a read whose answer nobody got says nothing.
    this.operations = all
      .filter(({ outcome, kind }) => outcome !== "fail" && !(outcome === "unknown" && kind === "read"))
      .sort((a, b) => a.call - b.call);
    this.left = this.operations.filter(({ outcome }) => outcome === "ok").length;
    const { length } = this.operations;
    this.end = length;
    this.next = Int32Array.from({ length: length + 1 }, (_, at) => (at === length ? 0 : at + 1));
    this.previous = Int32Array.from({ length: length + 1 }, (_, at) => (at === 0 ? length : at - 1));
  }

  order(at: number): void {
    const [before, after] = [this.previous[at] as number, this.next[at] as number];
    this.next[before] = after;
    this.previous[after] = before;
    this.count(at, 1);
  }

  /** Undoes `order`; the last one first. */
  undo(at: number): void {
    this.next[this.previous[at] as number] = at;
    this.previous[this.next[at] as number] = at;
    this.count(at, -1);
  }

  /** What may come next, none of which was called after another's return; in the order in which it is tried. */
  frame(value: string, latest: number): Frame {
    const certain: Choice[] = [];
    const unknown: Choice[] = [];
    for (const at of this.open()) {
      const operation = this.operations[at] as Operation;
      const after = valueAfter(value, operation);
      if (after === undefined) continue;
      if (operation.outcome === "ok") {
        if (after === value) return { value, latest, choices: [{ at, value }], tried: 0 };
        certain.push({ at, value: after });
      } else if (after !== value) {
        unknown.push({ at, value: after });
      }
    }
    return { value, latest, choices: [...certain, ...unknown], tried: 0 };
  }

  /** The operations that may come next, whatever their output. */
  candidates(): readonly Operation[] {
    return [...this.open()].map((at) => this.operations[at] as Operation);
  }

  /** A state of the search: what is ordered, and the value. */
  describe({ value, latest }: Frame): string {
    let state = `${latest}`;
    for (let at = this.next[this.end] as number; at < latest; at = this.next[at] as number) state += `,${at}`;
    return `${state}=${value}`;
  }

  private *open(): Generator<number, void, void> {
    let earliest = Number.POSITIVE_INFINITY;
    for (let at = this.next[this.end] as number; at !== this.end; at = this.next[at] as number) {
      const operation = this.operations[at] as Operation;
      // Sorted by call: what follows was called later still.
      if (operation.call > earliest) return;
      earliest = Math.min(earliest, operation.return ?? Number.POSITIVE_INFINITY);
      yield at;
    }
  }

  private count(at: number, by: 1 | -1): void {
    if (this.operations[at]?.outcome !== "ok") return;
    this.ordered += by;
    this.left -= by;
  }
}
