import type { Filter } from "../rules.ts";
import { amountText, andText, clip, nameOf, orText, quantityText } from "../text.ts";
import type { TaskState } from "../types.ts";
import { isTied } from "./ties.ts";

/** A task's reservations by kind, without those of 0. */
export function needsOf({ reservations }: TaskState): [kind: string, amount: number][] {
  if (reservations === undefined) return [];
  return Object.entries(reservations).filter(([, amount]) => amount > 0);
}

/** The node has the task's reservations free. */
export const resources: Filter = {
  name: "resources",
  reads: "node",
  check(task) {
    const needs = needsOf(task);
    if (needs.length === 0) return undefined;
    return (node) => {
      for (const [kind, amount] of needs) if (node.free(kind) < amount) return false;
      return true;
    };
  },
  room(task, node) {
    let room = Number.POSITIVE_INFINITY;
    for (const [kind, amount] of needsOf(task)) room = Math.min(room, Math.floor(node.free(kind) / amount));
    return room;
  },
  explain(task, node) {
    const needs = needsOf(task);
    const short = needs
      .map(([kind, needed]) => ({ kind, needed, free: Math.max(0, node.free(kind)) }))
      .filter(({ needed, free }) => free < needed)
      .toSorted((a, b) => shortage(b.needed, b.free) - shortage(a.needed, a.free) || (a.kind < b.kind ? -1 : 1));
    const [worst] = short;
    const { kind = "", needed = 0, free = 0 } = worst ?? {};
    const kinds = needs.map(([each]) => clip(each)).toSorted();
    const text =
      kinds.length === 1
        ? `short of ${clip(kind)}: needs ${amountText(kind, needed, "up")}, most free is ${amountText(kind, free, "down")} on ${nameOf(node)}`
        : `short of ${orText(kinds)}: nearest is ${nameOf(node)} with ${andText(short.map((each) => `${quantityText(each.kind, each.free, "down")} free of ${amountText(each.kind, each.needed, "up")} needed`))}`;
    const each = (amount: (of: (typeof short)[number]) => number, way: "up" | "down"): string =>
      andText(short.map((of) => quantityText(of.kind, amount(of), way)));
    const helps = [
      ...(short.every((of) => node.capacity(of.kind) >= of.needed)
        ? [`free ${each((of) => of.needed - node.free(of.kind), "up")} on ${nameOf(node)}`]
        : []),
      ...(short.every((of) => of.free > 0) ? [`reserve at most ${each((of) => of.free, "down")}`] : []),
    ];
    return {
      text,
      ...(helps.length === 0 ? {} : { help: helps.join(", or ") }),
      ...(isTied(task) ? {} : { another: `add a node like ${nameOf(node)} with ${each((of) => of.needed, "up")}` }),
      data: { kind: clip(kind), needs: needed, free },
    };
  },
  distance(task, node) {
    let worst = 0;
    for (const [kind, needed] of needsOf(task)) worst = Math.max(worst, shortage(needed, node.free(kind)));
    return worst;
  },
};

/** The missing amount, as a share of the needed one. */
function shortage(needed: number, free: number): number {
  return (needed - free) / needed;
}
