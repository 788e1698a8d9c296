/**
 * Preemption: which tasks have to leave so that one of higher priority fits, chosen as Kubernetes does (ADR 0056): the
 * node whose highest victim is lowest, then with the fewest victims, then with the lowest sum of priorities, then by
 * tie-break. On a node, tasks are kept in the order of their priority, the highest first, as long as the new task fits.
 *
 * Victims are necessary and sufficient: the task fits once they are gone, and would not if any one of them stayed.
 */
import type { Requirements } from "./requirements.ts";
import { needsOf } from "./filters/resources.ts";
import type { NodeView } from "./rules.ts";
import { type Node, tieBreak } from "./state/node.ts";
import { portsOf } from "./state/ports.ts";
import type { World } from "./state/world.ts";
import type { TaskState } from "./types.ts";

export interface Eviction {
  readonly node: Node;
  readonly victims: readonly TaskState[];
}

export function findVictims(world: World, requirements: Requirements): Eviction | undefined {
  const priority = requirements.task.priority ?? 0;
  let best: Eviction | undefined;
  for (const node of world.nodesBelow(priority)) {
    if (!requirements.checks.every(({ filter, test }) => filter.reads !== "state" || test(node))) continue;
    const victims = victimsOn(world, node, requirements, best?.victims);
    if (victims === undefined) continue;
    const found = { node, victims };
    if (best === undefined || compare(found, best) < 0) best = found;
  }
  return best;
}

/** The victims on one node; undefined if no set of them makes room, or they would be worse than `bar`. */
function victimsOn(
  world: World,
  node: Node,
  requirements: Requirements,
  bar: readonly TaskState[] | undefined,
): TaskState[] | undefined {
  const below = [...node.tasks.values()]
    .filter((task) => task.leaving !== true && priorityOf(task) < priorityOf(requirements.task))
    .toSorted(
      (a, b) =>
        priorityOf(b) - priorityOf(a) || weight(a, requirements) - weight(b, requirements) || (a.id < b.id ? -1 : 1),
    );
  if (bar !== undefined && priorityOf(below.at(-1) as TaskState) > highest(bar)) return undefined;
  // Removing a task never makes a node fail by itself, so a node that fails without all of them can be skipped.
  if (!passesWithout(node, requirements, below)) return undefined;
  // Tasks that the new task needs beside it are kept.
  const needed = new Set(
    (requirements.task.affinity ?? []).filter(({ kind }) => kind === "affinity").map((term) => term.service),
  );
  const starts = [below, below.filter(({ serviceId }) => !needed.has(serviceId))];
  let victims = starts.find((set) => fitsWithout(world, node, requirements, set));
  if (victims === undefined) return undefined;
  for (const task of victims) {
    const others: TaskState[] = victims.filter((each) => each !== task);
    if (fitsWithout(world, node, requirements, others)) victims = others;
  }
  return victims;
}

/** The largest share of the new task's reservations that a task holds. Of equal priorities the lighter are kept, so that fewer have to leave. */
function weight({ reservations = {} }: TaskState, { task }: Requirements): number {
  let most = 0;
  for (const [kind, needed] of needsOf(task)) most = Math.max(most, (reservations[kind] ?? 0) / needed);
  return most;
}

function fitsWithout(world: World, node: Node, requirements: Requirements, victims: readonly TaskState[]): boolean {
  if (!passesWithout(node, requirements, victims)) return false;
  if (requirements.checks.every(({ filter }) => filter.reads !== undefined)) return true;
  // Filters that read other nodes need the world without the victims.
  for (const victim of victims) world.release(node.state.id, victim);
  const passes = requirements.checks.every(({ test }) => test(node));
  for (const victim of victims) world.hold(node.state.id, victim);
  return passes;
}

/** Whether the filters that read one node pass it as it would be without the victims. */
function passesWithout(node: Node, requirements: Requirements, victims: readonly TaskState[]): boolean {
  const view = viewWithout(node, victims);
  return requirements.checks.every(({ filter, test }) => filter.reads === undefined || test(view as Node));
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

function compare(a: Eviction, b: Eviction): number {
  return compareSets(a.victims, b.victims) || tieBreak(a.node, b.node);
}

function compareSets(a: readonly TaskState[], b: readonly TaskState[]): number {
  return highest(a) - highest(b) || a.length - b.length || sum(a) - sum(b);
}

function highest(tasks: readonly TaskState[]): number {
  return Math.max(...tasks.map(priorityOf));
}

function sum(tasks: readonly TaskState[]): number {
  return tasks.reduce((total, task) => total + priorityOf(task), 0);
}
