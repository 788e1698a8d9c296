/**
 * `warren why`: what is known of a service or a task, as reasons in the order of time, each with what would help.
 *
 * Pure over one view: the same state gives the same answer.
 */
import {
  LeaseState,
  NodeSpec_Availability,
  NodeStatus_State,
  ObjectKind,
  TaskState,
  UpdateStatus_State,
  type ExplainResponse,
  type Lease,
  type Node,
  type Reason,
  type Service,
  type Slot,
  type Task,
  type UpdateStatus,
} from "@warren/api";
import {
  compareSlotKeys,
  compareTasks,
  currentLease,
  hasEnded,
  isRunning,
  isStanding,
  mayRun,
  newestTask,
  recordOf,
  stateOf,
  taskStateText,
} from "@warren/api/model";
import type { View } from "@warren/store";
import { idOf, nodeName, serviceName, taskName } from "./access.ts";
import { currentUpdate, replicasOf, summarize } from "./summary.ts";
import { endText, isWanted, isNodeDown, leaseOf, serves, waitingText, waitsForNode } from "./task-reading.ts";

/** Reasons of one answer; the newest are kept. */
const mostReasons = 100;
/** Ended tasks of one slot that are told. */
const historyPerSlot = 3;

export function explainService(view: View, service: Service): ExplainResponse {
  const tasks = Map.groupBy(view.find("tasks", "service", idOf(service)), ({ slotId }) => slotId);
  const slots = view.find("slots", "service", idOf(service)).toSorted((a, b) => compareSlotKeys(a.key, b.key));
  const nodes = new Set([...tasks.values()].flat().map(({ nodeId }) => nodeId));
  const reasons = [...ofService(service, slots), ...ofNodes(view, idOf(service), nodes)];
  for (const slot of slots) {
    const history = tasks.get(idOf(slot)) ?? [];
    const newest = newestTask(history);
    const isMoving = slot.wanted && newest !== undefined && waitsForNode(newest);
    if (isMoving || !history.some((task) => serves(view, task)) || history.some(endedBadly))
      reasons.push(...ofSlot(view, slot, history));
  }
  return {
    kind: ObjectKind.SERVICE,
    id: idOf(service),
    name: serviceName(service),
    summary: serviceSummary(view, service),
    reasons: inOrder(reasons),
  };
}

export function explainTask(view: View, task: Task): ExplainResponse {
  const history = view.find("tasks", "slot", task.slotId).filter((each) => compareTasks(each, task) <= 0);
  const node = nodeOf(view, task);
  const where = node === undefined ? "" : ` on ${nodeName(node)}`;
  return {
    kind: ObjectKind.TASK,
    id: idOf(task),
    name: taskName(task),
    summary: `task ${taskName(task)} ${taskText(view, task, where)}`,
    reasons: inOrder([
      ...ofSlot(view, view.get("slots", task.slotId), history),
      ...ofNodes(view, task.serviceId, new Set([task.nodeId])),
    ]),
  };
}

function taskText(view: View, task: Task, where: string): string {
  if (hasEnded(task)) return `${endText(task)}${where}`;
  if (!isWanted(view, task)) return `is ${taskStateText(stateOf(task))}${where} and told to stop`;
  if (isRunning(task) && isNodeDown(nodeOf(view, task))) return `ran${where}, which is down`;
  return isRunning(task) ? `runs${where}` : `waits: ${waitingText(task, nodeOf(view, task))}`;
}

function serviceSummary(view: View, service: Service): string {
  const { desired, running, updated, waiting, completed } = summarize(view, service);
  const name = `service ${serviceName(service)}`;
  const blocked = service.updateStatus?.blocked ?? "";
  const update = blocked === "" ? "" : `; its update waits: ${blocked}`;
  if (desired === 0) return `${name} is scaled to zero`;
  // First what keeps it as it is, though nothing may be missing.
  if (isHalted(service)) {
    const halted = `${name} runs ${running} of ${desired}, ${updated} of them as asked for: its update is paused`;
    return waiting === "" ? halted : `${halted}; ${waiting}`;
  }
  if (completed >= desired)
    return `${name} has completed: ${completed} of ${desired} task${desired === 1 ? "" : "s"} ended with code 0`;
  if (waiting === "" && updated < running) {
    const why = update === "" ? ": its update is under way" : update;
    return `${name} runs ${running} of ${desired}, ${updated} of them as asked for${why}`;
  }
  if (waiting === "") return `${name} runs as asked for: ${running} of ${desired}${update || moveText(view, service)}`;
  return `${name} runs ${running} of ${desired}; ${waiting}${update}`;
}

/** Of the first slot whose task runs where it should not stay, and has no other place; empty where there is none. */
function moveText(view: View, service: Service): string {
  const newest = view
    .find("slots", "service", idOf(service))
    .filter(({ wanted }) => wanted)
    .toSorted((a, b) => compareSlotKeys(a.key, b.key))
    .map((slot) => newestTask(view.find("tasks", "slot", idOf(slot))))
    .find((task) => task !== undefined && waitsForNode(task));
  return newest === undefined ? "" : `; ${taskName(newest)} is to move, but ${waitingText(newest, undefined)}`;
}

function isHalted(service: Service): boolean {
  const state = currentUpdate(service)?.state;
  return state === UpdateStatus_State.PAUSED || state === UpdateStatus_State.ROLLBACK_PAUSED;
}

function inOrder(reasons: readonly Reason[]): Reason[] {
  const time = ({ at }: Reason): number => at?.getTime() ?? Number.POSITIVE_INFINITY;
  return reasons.toSorted((a, b) => (time(a) === time(b) ? 0 : time(a) < time(b) ? -1 : 1)).slice(-mostReasons);
}

function* ofService(service: Service, slots: readonly Slot[]): Iterable<Reason> {
  const aboutService = (at: Date | undefined, text: string, remedy = ""): Reason => ({
    at,
    taskId: "",
    slot: undefined,
    text,
    remedy,
  });
  const { updateStatus: update, meta } = service;
  if (update !== undefined && update.versionId === service.versionId) {
    const text = updateText(update);
    yield aboutService(update.completedAt ?? update.startedAt, text, updateRemedy(update.state, serviceName(service)));
  }
  if (slots.length === 0 && replicasOf(service) > 0)
    yield aboutService(
      meta?.createdAt,
      "no task has been made yet",
      "see whether a manager leads: warren cluster info",
    );
}

/**
 * What nodes say of themselves that concerns the service: by its id on any node, and of all their tasks on those that have
 * one of its.
 */
function* ofNodes(view: View, serviceId: string, withTasks: ReadonlySet<string>): Iterable<Reason> {
  for (const node of view.list("nodes")) {
    if (node.status?.state !== NodeStatus_State.READY) continue;
    for (const { message, remedy, serviceIds, everyTask, since } of node.description?.conditions ?? []) {
      if (!serviceIds.includes(serviceId) && !(everyTask && withTasks.has(idOf(node)))) continue;
      yield { at: since, taskId: "", slot: undefined, text: `on ${nodeName(node)}: ${message}`, remedy };
    }
  }
}

function updateText({ state, message, cause }: UpdateStatus): string {
  const words: Readonly<Record<UpdateStatus_State, string>> = {
    [UpdateStatus_State.UNSPECIFIED]: "update",
    [UpdateStatus_State.UPDATING]: "an update is under way",
    [UpdateStatus_State.PAUSED]: "the update is paused",
    [UpdateStatus_State.COMPLETED]: "the update was completed",
    [UpdateStatus_State.ROLLING_BACK]: "a rollback is under way",
    [UpdateStatus_State.ROLLBACK_PAUSED]: "the rollback is paused",
    [UpdateStatus_State.ROLLED_BACK]: "the service was rolled back",
  };
  // A paused one's message says that it is, for those who read it alone.
  const why = message.replace(/^paused, /, "");
  const text = why === "" ? words[state] : `${words[state]}: ${why}`;
  // While it rolls back its message has the cause.
  return cause === "" || message.includes(cause) ? text : `${text}; it was rolled back since ${cause}`;
}

function updateRemedy(state: UpdateStatus_State, name: string): string {
  if (state === UpdateStatus_State.PAUSED)
    return `mend what failed and update again, or go back: warren service rollback ${name}`;
  return state === UpdateStatus_State.ROLLBACK_PAUSED
    ? `update to a spec that works: warren service update ${name}`
    : "";
}

/** What led to the present state of a slot: its last ends, and what it does now. */
function* ofSlot(view: View, slot: Slot | undefined, history: readonly Task[]): Iterable<Reason> {
  const ordered = history.toSorted(compareTasks);
  const newest = newestTask(ordered);
  const ended = ordered.filter((task) => hasEnded(task) && (endedBadly(task) || task === newest));
  for (const task of ended.slice(-historyPerSlot)) yield ofEnd(view, slot, task);
  if (newest === undefined) return;
  if (slot !== undefined) yield* ofLeases(view, slot, newest);
  if (hasEnded(newest)) return;
  const node = nodeOf(view, newest);
  if (isRunning(newest) && !isNodeDown(node)) {
    yield about(newest, `runs${node === undefined ? "" : ` on ${nodeName(node)}`}`, "");
    return;
  }
  if (!isNodeDown(node)) {
    yield about(newest, `waits: ${waitingText(newest, node)}`, waitingRemedy(newest, node));
    return;
  }
  const last = isRunning(newest) ? "it ran when last heard of" : `it was ${taskStateText(stateOf(newest))}`;
  yield {
    ...about(newest, `${waitingText(newest, node)}; ${last}`, "bring the node back, or wait: it is replaced elsewhere"),
    at: node?.status?.at,
  };
}

/** What the slot's leases wait for, beyond what its newest task says. */
function* ofLeases(view: View, slot: Slot, newest: Task): Iterable<Reason> {
  if (slot.retryAt !== undefined) {
    const text = `is tried again at ${slot.retryAt.toISOString()}: back-off after what happened before`;
    yield { ...about(newest, text, ""), at: slot.retryAt };
  }
  const lease = leaseOf(view, newest);
  const waitMs = recordOf(lease)?.waitMs ?? 0;
  if (hasEnded(newest) && lease?.state === LeaseState.HELD && waitMs > 0 && slot.settled === "")
    yield about(newest, `its node starts it again by itself, after a wait of ${Math.ceil(waitMs / 1_000)} s`, "");
  if (lease === undefined || !isStanding(lease) || isRunning(newest)) return;
  if (lease.cause !== "" && currentLease(slot) !== lease && currentLease(slot) !== undefined)
    yield {
      ...about(newest, `is to take the place of the task before it: ${lease.cause}`, ""),
      at: newest.meta?.createdAt,
    };
  // L2: on one node the worker waits by itself.
  if (lease.state !== LeaseState.OFFERED && lease.after === undefined) return;
  for (const before of slot.leases) {
    if (before === lease || !mayRun(before) || before.state !== LeaseState.RELEASING) continue;
    const text = `waits for ${leaseNode(view, before)} to say that the task before it is gone`;
    yield { ...about(newest, text, "see that node: warren node list"), at: before.since };
  }
}

function leaseNode(view: View, { nodeId }: Lease): string {
  const node = view.get("nodes", nodeId);
  return node === undefined ? nodeId : nodeName(node);
}

function ofEnd(view: View, slot: Slot | undefined, task: Task): Reason {
  const node = nodeOf(view, task);
  const lease = leaseOf(view, task);
  const last = newestTask(view.find("tasks", "slot", task.slotId));
  const settled = lease !== undefined && last === task ? (slot?.settled ?? "") : "";
  const where = node === undefined ? "" : ` on ${nodeName(node)}`;
  const text = `${endText(task)}${where}${settled === "" ? "" : `; no further task follows: ${settled}`}`;
  const again =
    settled === "" || stateOf(task) === TaskState.COMPLETE
      ? ""
      : `to try again: warren service update ${task.serviceName} --force`;
  return about(task, text, [endRemedy(task), again].filter(Boolean).join("; "));
}

function about(task: Task, text: string, remedy: string): Reason {
  return { at: task.status?.at ?? task.meta?.updatedAt, taskId: idOf(task), slot: task.slot, text, remedy };
}

function nodeOf(view: View, task: Task): Node | undefined {
  return task.nodeId === "" ? undefined : view.get("nodes", task.nodeId);
}

function endedBadly(task: Task): boolean {
  const state = stateOf(task);
  return state === TaskState.FAILED || state === TaskState.REJECTED || state === TaskState.ORPHANED;
}

/** By the code of the error, which is public API; then by what the container's end says. */
function endRemedy(task: Task): string {
  const { code = "", container } = task.status ?? {};
  if (container?.oomKilled === true)
    return "give it more memory: warren service update --limit-memory, or find what uses it";
  const byCode = remedies[code];
  if (byCode !== undefined) return byCode;
  if (stateOf(task) === TaskState.ORPHANED) return "see its node: warren node list";
  if (stateOf(task) !== TaskState.FAILED) return "";
  if (container?.exitCode === 127 || container?.exitCode === 126)
    return "see whether the command is in the image and may be run";
  return `see what it wrote: warren task logs ${idOf(task)}`;
}

const remedies: Readonly<Record<string, string>> = {
  RUNTIME_REFERENCE_INVALID: "mend the image's name",
  RUNTIME_IMAGE_NOT_FOUND:
    "see whether the image and its tag are in the registry, or whether it needs a login: warren registry login",
  RUNTIME_IMAGE_INVALID: "push the image again",
  RUNTIME_DIGEST_MISMATCH:
    "what the registry or a mirror gave is not what was asked for: see to the mirror, or push the image again",
  RUNTIME_PLATFORM_MISSING:
    "build the image for the nodes' platform, or place the service where it runs: --constraint node.platform.arch==…",
  RUNTIME_REGISTRY_UNREACHABLE: "see whether the node reaches the registry; it is tried again by itself",
  RUNTIME_REGISTRY_UNAUTHORIZED: "log in: warren registry login",
  RUNTIME_REGISTRY_REFUSED: "see what the registry says; it is tried again by itself",
  RUNTIME_DISK_FULL: "make room on the node's disk; it is tried again by itself",
  RUNTIME_UNAVAILABLE: "see whether containerd runs on the node; it is tried again by itself",
};

function waitingRemedy(task: Task, node: Node | undefined): string {
  const { pending } = task.status ?? {};
  if (stateOf(task) > TaskState.PENDING) {
    return node?.spec?.availability === NodeSpec_Availability.DRAIN
      ? "its node is drained; the task moves by itself"
      : "";
  }
  if (pending === undefined) return "";
  if (pending.nodes === 0)
    return "see whether this machine's worker runs: warren node list, and worker.log in its data dir";
  const commands = new Set(pending.refusals.flatMap(({ filter }) => filterCommands[filter] ?? []));
  return pending.help === "" || commands.size === 0 ? pending.help : `${pending.help} (${[...commands].join(", ")})`;
}

/** By the name of the scheduler's filter: the commands with which its help is followed. */
const filterCommands: Readonly<Record<string, readonly string[]>> = {
  ready: ["warren node list", "warren node activate"],
  resources: ["warren service update --reserve-cpu --reserve-memory"],
  constraints: ["warren node update --label", "warren service update --constraint-rm"],
  "host-ports": ["warren service update --publish --publish-rm"],
  "max-per-node": ["warren service update --max-replicas-per-node"],
};
