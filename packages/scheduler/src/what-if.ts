/**
 * Dry runs: answers that leave the scheduler's state unchanged. Those that place tasks use a fork.
 */
import { type Requirements, compileRequirements, type Rules } from "./requirements.ts";
import type { Move } from "./rebalance.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Node } from "./state/node.ts";
import type { World } from "./state/world.ts";
import type { Placed, TaskState, Victim, Waiting } from "./types.ts";

export interface Capacity {
  /** Tasks that fit beside those that are placed now; infinite where no requirement of the task uses anything up. */
  readonly tasks: number;
  /** Nodes that can take at least one. */
  readonly nodes: number;
  /** Why no more tasks fit; absent where `tasks` is infinite. */
  readonly limit?: string;
}

export interface Drain {
  readonly nodeId: string;
  readonly moves: readonly Move[];
  /** Tasks that no other node can take, and why. */
  readonly stuck: readonly Waiting[];
  /** Tasks on other nodes that those of higher priority would displace. */
  readonly victims: readonly Victim[];
}

/** The priority of a task that must not displace any other. */
const lowestPriority = Number.MIN_SAFE_INTEGER;

/** Numbers of tasks to place on trial, one batch after the other, to find a capacity that no formula gives; small first, as often few fit. */
const firstTrials = 64;
const trials = 10_000;

/** The task without its node and names, as if it were pending. */
export function unplaced(task: TaskState): TaskState {
  const { nodeId: _, named: _names, leaving: _leaving, ...pending } = task;
  return pending;
}

/** Removes tasks, calls `work`, and puts them back, also if it throws. */
export function once<T>(world: World, gone: readonly TaskState[], work: () => T): T {
  const held = gone.filter((task) => task.nodeId !== undefined);
  for (const task of held) world.release(task.nodeId as string, task);
  try {
    return work();
  } finally {
    for (const task of held) world.hold(task.nodeId as string, task);
  }
}

/** Counts tasks as leaving while `ask` runs, and as before afterwards, also when it throws. */
export function asLeaving<T>(world: World, tasks: readonly TaskState[], ask: () => T): T {
  const staying = tasks.filter((task) => task.nodeId !== undefined && task.leaving !== true);
  const leaving = staying.map((task) => ({ ...task, leaving: true }));
  return once(world, staying, () => {
    for (const task of leaving) world.hold(task.nodeId as string, task);
    try {
      return ask();
    } finally {
      for (const task of leaving) world.release(task.nodeId as string, task);
    }
  });
}

export function capacity(world: World, rules: Rules, fork: () => Scheduler, task: TaskState): Capacity {
  const requirements = compileRequirements(task, rules, world);
  return requirements.checks.every(({ filter }) => filter.reads === "state" || filter.room !== undefined)
    ? capacityByNode(world, requirements)
    : capacityByTrial(fork(), task);
}

/** Each node by itself: its free amounts, divided by those of a task. */
function capacityByNode(world: World, requirements: Requirements): Capacity {
  const { task } = requirements;
  let [tasks, nodes] = [0, 0];
  for (const node of world.known) {
    if (!requirements.checks.every(({ test }) => test(node))) continue;
    nodes += 1;
    let room = Number.POSITIVE_INFINITY;
    for (const { filter } of requirements.checks) room = Math.min(room, filter.room?.(task, node) ?? room);
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

/** Places tasks on the fork, for where the place of one task affects the next. */
function capacityByTrial(fork: Scheduler, task: TaskState): Capacity {
  const used = new Set<string>();
  const prefix = `${task.id}\u0000`;
  let tasks = 0;
  for (const until of [firstTrials, trials]) {
    for (let n = tasks; n < until; n += 1) {
      fork.apply({
        kind: "task",
        task: { ...task, priority: lowestPriority, id: `${prefix}${String(n).padStart(6, "0")}` },
      });
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
  const tasks = [...node.tasks.values()].filter((task) => task.leaving !== true);
  fork.schedule();
  fork.apply({ kind: "node", node: { ...node.state, active: false } });
  for (const task of tasks) fork.apply({ kind: "task", task: unplaced(task) });
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
