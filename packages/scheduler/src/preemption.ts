/**
 * Which tasks have to leave so that one of higher priority fits: the fewest, then the lowest.
 *
 * Nothing is ever displaced in vain: the task fits once they are gone, and without any one of them it would not.
 */
import type { Ask } from "./ask.ts";
import type { NodeView } from "./rules.ts";
import { type Node, tieBreak } from "./state/node.ts";
import { portsOf } from "./state/ports.ts";
import type { World } from "./state/world.ts";
import type { TaskState } from "./types.ts";

/** Sets of victims that are tried on one node before the search becomes greedy; exact up to 3 of 20 tasks, or 2 of 60. */
const trials = 2_000;

export interface Eviction {
  readonly node: Node;
  readonly victims: readonly TaskState[];
}

export function findVictims(world: World, ask: Ask): Eviction | undefined {
  const priority = ask.task.priority ?? 0;
  let best: Eviction | undefined;
  for (const node of world.nodesBelow(priority)) {
    if (!ask.checks.every(({ filter, test }) => filter.reads !== "state" || test(node))) continue;
    const victims = victimsOn(world, node, ask, best?.victims);
    if (victims === undefined) continue;
    const found = { node, victims };
    if (best === undefined || compare(found, best) < 0) best = found;
  }
  return best;
}

/** The best set on one node, unless it is worse than `bar`. */
function victimsOn(world: World, node: Node, ask: Ask, bar: readonly TaskState[] | undefined): TaskState[] | undefined {
  const below = [...node.tasks.values()]
    .filter((task) => task.leaving !== true && priorityOf(task) < priorityOf(ask.task))
    .toSorted(byPriority);
  if (bar !== undefined && compareSets(below.slice(0, 1), bar) > 0) return undefined;
  // Fewer tasks never make a node by itself pass less, so if it does not pass without all of them, it never will.
  if (!passesWithout(node, ask, below)) return undefined;
  const fits = (victims: readonly TaskState[]): boolean => fitsWithout(world, node, ask, victims);
  let left = trials;
  for (let size = 1; size <= below.length; size += 1) {
    if (bar !== undefined && size > bar.length) return undefined;
    left -= combinations(below.length, size);
    if (left < 0) return greedy(below, fits);
    let best: TaskState[] | undefined;
    for (const set of subsets(below, size)) {
      if ((best === undefined || compareSets(set, best) < 0) && fits(set)) best = set;
    }
    if (best !== undefined) return best;
  }
  return undefined;
}

/** From all that could leave, the highest stay first; whoever can stay does. */
function greedy(
  below: readonly TaskState[],
  fits: (victims: readonly TaskState[]) => boolean,
): TaskState[] | undefined {
  let victims = [...below];
  if (!fits(victims)) return undefined;
  for (const task of below.toReversed()) {
    const without = victims.filter((each) => each !== task);
    if (fits(without)) victims = without;
  }
  return victims;
}

function fitsWithout(world: World, node: Node, ask: Ask, victims: readonly TaskState[]): boolean {
  if (!passesWithout(node, ask, victims)) return false;
  if (ask.checks.every(({ filter }) => filter.reads !== undefined)) return true;
  // What looks at the world has to see it so.
  for (const victim of victims) world.release(node.state.id, victim);
  const passes = ask.checks.every(({ test }) => test(node));
  for (const victim of victims) world.hold(node.state.id, victim);
  return passes;
}

/** The filters that look at one node, on this one as it would be. */
function passesWithout(node: Node, ask: Ask, victims: readonly TaskState[]): boolean {
  const view = viewWithout(node, victims);
  return ask.checks.every(({ filter, test }) => filter.reads === undefined || test(view as Node));
}

function viewWithout(node: Node, victims: readonly TaskState[]): NodeView {
  const used = new Map(node.used);
  const hostPorts = new Map(node.hostPorts);
  const services = new Map(node.services);
  const take = (counts: Map<string, number>, key: string, by: number): void => {
    const left = (counts.get(key) ?? 0) - by;
    if (left === 0) counts.delete(key);
    else counts.set(key, left);
  };
  for (const victim of victims) {
    for (const [kind, amount] of Object.entries(victim.reservations ?? {})) take(used, kind, amount);
    for (const port of portsOf(victim)) take(hostPorts, port, 1);
    take(services, victim.serviceId, 1);
  }
  return {
    state: node.state,
    load: node.load - victims.length,
    held: node.held - victims.length,
    get tasks(): Map<string, TaskState> {
      const ids = new Set(victims.map(({ id }) => id));
      return new Map([...node.tasks].filter(([id]) => !ids.has(id)));
    },
    used,
    hostPorts,
    services,
    headroom: node.headroom,
    capacity: (kind) => node.capacity(kind),
    free: (kind) => node.capacity(kind) - (used.get(kind) ?? 0),
  };
}

function priorityOf({ priority = 0 }: TaskState): number {
  return priority;
}

function byPriority(a: TaskState, b: TaskState): number {
  return priorityOf(a) - priorityOf(b) || (a.id < b.id ? -1 : 1);
}

function compare(a: Eviction, b: Eviction): number {
  return compareSets(a.victims, b.victims) || tieBreak(a.node, b.node);
}

/** Fewer before more; then the one whose highest, next highest… is lower. */
function compareSets(a: readonly TaskState[], b: readonly TaskState[]): number {
  if (a.length !== b.length) return a.length - b.length;
  const [highA, highB] = [a, b].map((set) => set.map(priorityOf).toSorted((x, y) => y - x)) as [number[], number[]];
  for (const [at, priority] of highA.entries()) {
    const by = priority - (highB[at] as number);
    if (by !== 0) return by;
  }
  return 0;
}

function combinations(of: number, size: number): number {
  let count = 1;
  for (let at = 0; at < size; at += 1) count = (count * (of - at)) / (at + 1);
  return count;
}

function* subsets<T>(items: readonly T[], size: number, from = 0): Generator<T[]> {
  if (size === 0) return yield [];
  for (let at = from; at <= items.length - size; at += 1) {
    for (const rest of subsets(items, size - 1, at + 1)) yield [items[at] as T, ...rest];
  }
}
