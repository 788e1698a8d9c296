/**
 * What would happen if: answers about a world that is not changed. Those that place tasks try it on a fork.
 */
import { type Ask, askOf, type Rules } from "./ask.ts";
import { hostPorts } from "./filters/host-ports.ts";
import { maxPerNode } from "./filters/max-per-node.ts";
import { resources } from "./filters/resources.ts";
import type { Move } from "./rebalance.ts";
import type { Filter } from "./rules.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Node } from "./state/node.ts";
import { portsOf } from "./state/ports.ts";
import type { World } from "./state/world.ts";
import type { Placed, TaskState, Victim, Waiting } from "./types.ts";

export interface Capacity {
  /** Tasks that fit beside those that hold nodes now; infinite where nothing that the task asks for is used up. */
  readonly tasks: number;
  /** Nodes that take at least one. */
  readonly nodes: number;
  /** Why no more fit than that; absent where `tasks` is infinite. */
  readonly limit?: string;
}

export interface Drain {
  readonly nodeId: string;
  readonly moves: readonly Move[];
  /** Tasks that no other node takes, and why. */
  readonly stuck: readonly Waiting[];
  /** Tasks on other nodes that those of higher priority would displace. */
  readonly victims: readonly Victim[];
}

/** The priority of a task that shall displace nobody. */
const modest = Number.MIN_SAFE_INTEGER;

/** Tasks that are placed one by one to find a capacity that no formula gives; few first, as few often fit. */
const firstTrials = 64;
const trials = 10_000;

export function capacity(world: World, rules: Rules, fork: () => Scheduler, task: TaskState): Capacity {
  const { nodeId: _, ...pending } = task;
  const ask = askOf(pending, rules, world);
  return ask.checks.every(({ filter }) => filter.reads === "state" || countable.has(filter))
    ? capacityByNode(world, ask)
    : capacityByTrial(fork(), pending);
}

/** Filters whose answer changes with each task in a way that can be reckoned. */
const countable: ReadonlySet<Filter> = new Set([resources, maxPerNode, hostPorts]);

/** Each node by itself: what it has left, divided by what a task takes. */
function capacityByNode(world: World, ask: Ask): Capacity {
  const { task } = ask;
  let [tasks, nodes] = [0, 0];
  for (const node of world.known) {
    if (!ask.checks.every(({ test }) => test(node))) continue;
    nodes += 1;
    let room = portsOf(task).length > 0 ? 1 : Number.POSITIVE_INFINITY;
    for (const [kind, amount] of Object.entries(task.reservations ?? {})) {
      if (amount > 0) room = Math.min(room, Math.floor(node.free(kind) / amount));
    }
    if ((task.maxPerNode ?? 0) > 0)
      room = Math.min(room, (task.maxPerNode ?? 0) - (node.services.get(task.serviceId) ?? 0));
    tasks += room;
  }
  if (tasks === Number.POSITIVE_INFINITY) return { tasks, nodes };
  return {
    tasks,
    nodes,
    limit:
      nodes === 0 ? "no node passes all filters" : `${nodes} of ${world.size} nodes pass; they have room for no more`,
  };
}

/** Where one task's place changes what the next may do, only trying tells. */
function capacityByTrial(fork: Scheduler, task: TaskState): Capacity {
  const used = new Set<string>();
  const prefix = `${task.id}\u0000`;
  let tasks = 0;
  for (const until of [firstTrials, trials]) {
    for (let n = tasks; n < until; n += 1) {
      fork.apply({ kind: "task", task: { ...task, priority: modest, id: `${prefix}${String(n).padStart(6, "0")}` } });
    }
    const decisions = fork.schedule().filter((each) => each.taskId.startsWith(prefix));
    for (const each of decisions) {
      if (each.kind === "waiting") return { tasks, nodes: used.size, limit: each.text };
      used.add(each.nodeId);
      tasks += 1;
    }
  }
  return { tasks: Number.POSITIVE_INFINITY, nodes: used.size };
}

export function drain(fork: Scheduler, node: Node): Drain {
  const nodeId = node.state.id;
  const tasks = [...node.tasks.values()];
  fork.schedule();
  fork.apply({ kind: "node", node: { ...node.state, active: false } });
  for (const { nodeId: _, named: _names, ...task } of tasks) fork.apply({ kind: "task", task });
  const ids = new Set(tasks.map((task) => task.id));
  const decisions = fork.schedule().filter((each) => ids.has(each.taskId));
  const moves = decisions.flatMap((each) => (each.kind === "placed" ? [moveOf(each, nodeId, tasks)] : []));
  const victims = decisions.flatMap((each) => (each.kind === "placed" ? (each.victims ?? []) : []));
  return { nodeId, moves, stuck: decisions.filter((each) => each.kind === "waiting"), victims };
}

function moveOf(decision: Placed, fromNodeId: string, tasks: readonly TaskState[]): Move {
  const { taskId, nodeId: toNodeId, text } = decision;
  const serviceId = tasks.find((task) => task.id === taskId)?.serviceId ?? "";
  return { taskId, serviceId, fromNodeId, toNodeId, text };
}
