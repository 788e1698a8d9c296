import type { Filter, NodeView } from "../rules.ts";
import { amountText, clip, nameOf } from "../text.ts";
import type { Resources, TaskState } from "../types.ts";

/** What a task reserves of any kind, none of it zero. */
export function needsOf({ reservations }: TaskState): [kind: string, amount: number][] {
  if (reservations === undefined) return [];
  return Object.entries(reservations).filter(([, amount]) => amount > 0);
}

/** What the task reserves is free. */
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
  explain({ reservations = {} }, node) {
    const kind = scarcest(reservations, node);
    const needs = reservations[kind] ?? 0;
    const free = node.free(kind);
    const name = clip(kind);
    return {
      text: `short of ${name}: needs ${amountText(kind, needs)}, most free is ${amountText(kind, free)} on ${nameOf(node)}`,
      help:
        node.capacity(kind) < needs
          ? `add a node with ${amountText(kind, needs)} of ${name}, or reserve at most ${amountText(kind, Math.max(0, free))}`
          : `free ${amountText(kind, needs - free)} of ${name} on ${nameOf(node)}, or reserve at most ${amountText(kind, Math.max(0, free))}`,
      data: { kind: name, needs, free },
    };
  },
  distance: ({ reservations = {} }, node) => shortage(reservations, node, scarcest(reservations, node)),
};

function shortage(needs: Resources, node: NodeView, kind: string): number {
  const need = needs[kind] ?? 0;
  return need <= 0 ? 0 : (need - node.free(kind)) / need;
}

function scarcest(needs: Resources, node: NodeView): string {
  let worst = "";
  for (const kind of Object.keys(needs).toSorted()) {
    if (worst === "" || shortage(needs, node, kind) > shortage(needs, node, worst)) worst = kind;
  }
  return worst;
}
