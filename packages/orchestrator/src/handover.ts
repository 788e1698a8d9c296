/**
 * One task takes a slot over from others: after a restart's delay, in a rollout, when a node is drained, when one that
 * was down is back.
 */
import { TaskState, type PendingExplanation, type Task } from "@warren/api";
import { blocks, waitOf, type ServicePass } from "./service-pass.ts";
import type { SlotReading } from "./slots.ts";
import { hasStarted, isRunning, stateOf } from "./task.ts";

/** Refusals that end when a task of the same slot lets go of what it holds. */
const freedByStopping: ReadonlySet<string> = new Set(["resources", "host-ports", "max-per-node"]);

/** Brings `keeper` one step nearer to running, and the others of its slot one step nearer to their end. */
export function handOver(pass: ServicePass, { slot, live }: SlotReading, keeper: Task): void {
  const { plan } = pass;
  const others = live.filter((task) => task !== keeper && task.nodeId !== "");
  for (const task of live) if (task !== keeper && task.nodeId === "") plan.retire(task, TaskState.REMOVE);
  if (isRunning(keeper)) {
    for (const task of others) plan.retire(task, hasStarted(task) ? TaskState.SHUTDOWN : TaskState.REMOVE);
    return;
  }
  if (keeper.desiredState < TaskState.RUNNING) {
    const waitMs = waitOf(keeper, pass.now);
    if (waitMs > 0) return plan.wakeIn(waitMs);
    const held = !pass.startFirst && slot.tasks.some((task) => task !== keeper && blocks(pass, task));
    plan.aim(keeper, held ? TaskState.READY : TaskState.RUNNING);
    if (!held) sayItWaits(pass, keeper);
  }
  if (keeper.desiredState >= TaskState.READY && keeper.desiredState < TaskState.RUNNING && !pass.startFirst) {
    for (const task of others) if (mayStop(pass, task, keeper)) plan.retire(task, TaskState.SHUTDOWN);
    return;
  }
  // It starts beside them; only those that must leave don't wait for it if it finds no place.
  for (const task of others)
    if (pass.displacementOf(task).kind === "must-go" && explained(keeper) !== undefined)
      plan.retire(task, TaskState.SHUTDOWN);
}

/** P3: stop `old` so that `keeper` can start. */
function mayStop(pass: ServicePass, old: Task, keeper: Task): boolean {
  if (stateOf(keeper) >= TaskState.READY) return true;
  const waits = explained(keeper);
  if (waits === undefined) return false;
  return (
    pass.displacementOf(old).kind === "must-go" || waits.refusals.some(({ filter }) => freedByStopping.has(filter))
  );
}

/** Why no node takes it, if the scheduler has said so. */
function explained(task: Task): PendingExplanation | undefined {
  return stateOf(task) === TaskState.PENDING ? task.status?.pending : undefined;
}

/** Its back-off is over: it says what it waits for now. */
function sayItWaits({ plan, unallocated }: ServicePass, task: Task): void {
  if (stateOf(task) === TaskState.PENDING && task.nodeId === "" && unallocated === "" && explained(task) === undefined)
    plan.offer(task);
}
