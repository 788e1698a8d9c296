import { spreadKey } from "./requirements.ts";
import { topologyOf } from "./constraints.ts";
import { SchedulerError } from "./errors.ts";
import { checkConstraints } from "./filters/constraints.ts";
import type { HostPort, NamedResources, NodeState, TaskState } from "./types.ts";

/** @throws SchedulerError `SCHEDULER_CONSTRAINT_INVALID`, `SCHEDULER_TASK_INVALID` */
export function validateTask(task: TaskState): void {
  const refuse = (why: string): never => {
    throw new SchedulerError({ code: "SCHEDULER_TASK_INVALID", taskId: task.id }, `task ${task.id} ${why}`);
  };
  if (task.id === "") refuse('has "" for its id: give one');
  if (task.serviceId === "") refuse('has "" for its service\'s id: give one');
  if (task.nodeId === "") refuse('has "" for its node\'s id: give one, or leave it out');
  checkConstraints(task.constraints);
  if (!Number.isSafeInteger(task.specVersion)) refuse(`has the version ${task.specVersion}: give a whole number`);
  for (const kind in task.reservations) {
    if (kind === "") refuse('reserves of a resource that is named "": give its name');
    const amount = task.reservations[kind] ?? 0;
    if (!Number.isSafeInteger(amount) || amount < 0) {
      refuse(`reserves ${amount} of ${kind}: give a whole number, 0 or more, in its smallest unit`);
    }
  }
  if (task.hostPorts !== undefined) checkPorts(task.hostPorts, refuse);
  const twice = task.named === undefined ? undefined : repeated(task.named);
  if (twice !== undefined) refuse(`holds ${twice} twice: name each piece once`);
  for (const list of ["networks", "volumes", "localVolumes"] as const)
    if (task[list]?.includes("") === true) refuse(`names "" among its ${list}: give a name`);
  for (const { service } of task.affinity ?? [])
    if (service === "") refuse('has affinity to the service "": give its id');
  for (const { topology } of task.affinity ?? []) {
    if (topologyOf(topology) === undefined) {
      refuse(`names the topology "${topology}": give node.hostname, node.labels.K, or another key of constraints`);
    }
  }
  for (const preference of task.preferences ?? []) {
    if (topologyOf(spreadKey(preference) ?? "") === undefined) {
      refuse(`has the preference "${preference}": write spread=node.labels.K`);
    }
  }
  const { maxPerNode = 0, priority = 0, level = 0 } = task;
  if (!Number.isSafeInteger(level) || level < 0) refuse(`needs the level ${level}: give 0 or more`);
  if (!Number.isSafeInteger(maxPerNode) || maxPerNode < 0) refuse(`allows ${maxPerNode} tasks a node: give 0 or more`);
  if (task.leaving === true && task.nodeId === undefined) refuse("is leaving and has no node: give its node");
  if (!Number.isFinite(priority)) refuse(`has the priority ${priority}: give a number`);
}

/** @throws SchedulerError `SCHEDULER_NODE_INVALID` */
export function validateNode(node: NodeState): void {
  const refuse = (why: string): never => {
    throw new SchedulerError({ code: "SCHEDULER_NODE_INVALID", nodeId: node.id }, `node ${node.id} ${why}`);
  };
  if (node.id === "") refuse('has "" for its id: give one');
  if (!roles.has(node.role)) refuse(`has the role "${node.role}": give manager or worker`);
  for (const kind in node.resources) {
    const amount = node.resources[kind] ?? 0;
    if (kind === "" || !Number.isFinite(amount) || amount < 0)
      refuse(`offers ${amount} of "${kind}": give 0 or more of a name`);
  }
  const twice = node.named === undefined ? undefined : repeated(node.named);
  if (twice !== undefined) refuse(`offers ${twice} twice: name each piece once`);
  for (const { effect } of node.taints ?? [])
    if (!effects.has(effect)) refuse(`has a taint of effect "${effect}": give no-schedule or prefer-no-schedule`);
  const { level = 0, addresses = 0 } = node;
  if (!Number.isSafeInteger(level) || level < 0) refuse(`has the level ${level}: give 0 or more`);
  if (!Number.isSafeInteger(addresses) || addresses < 0) refuse(`has ${addresses} addresses: give 0 or more`);
}

/** @throws SchedulerError `SCHEDULER_TIME_INVALID` */
export function validateTime(time: number): void {
  if (Number.isFinite(time)) return;
  throw new SchedulerError({ code: "SCHEDULER_TIME_INVALID", time }, `the time ${time} is none: give milliseconds`);
}

/**
 * Tasks of one service and version are placed as one group, so they must have the same requirements.
 *
 * @param group a pending task of the same service and version
 * @throws SchedulerError `SCHEDULER_TASK_INVALID`
 */
export function validateGroup(task: TaskState, group: TaskState): void {
  if (task.id === group.id) return;
  for (const key of new Set([...Object.keys(task), ...Object.keys(group)]) as Set<keyof TaskState>) {
    if (own.has(key)) continue;
    const [asks, others] = [task[key], group[key]];
    if (asks === others || JSON.stringify(asks) === JSON.stringify(others)) continue;
    throw new SchedulerError(
      { code: "SCHEDULER_TASK_INVALID", taskId: task.id },
      `task ${task.id} asks for other ${key} than ${group.id}, of the same service and version: give it another specVersion`,
    );
  }
}

/** Fields that may differ between tasks of one service and version. */
const own: ReadonlySet<keyof TaskState> = new Set(["id", "nodeId", "named", "leaving"]);
const protocols: ReadonlySet<string> = new Set(["tcp", "udp", "sctp"]);
const roles: ReadonlySet<string> = new Set(["manager", "worker"]);
const effects: ReadonlySet<string> = new Set(["no-schedule", "prefer-no-schedule"]);

function checkPorts(hostPorts: readonly HostPort[], refuse: (why: string) => never): void {
  const ports = new Set<string>();
  for (const { port, protocol } of hostPorts) {
    if (!Number.isInteger(port) || port < 1 || port > 65_535) refuse(`publishes the port ${port}: give 1 to 65535`);
    if (!protocols.has(protocol)) refuse(`publishes a port of protocol "${protocol}": give tcp, udp or sctp`);
    const key = `${port}/${protocol}`;
    if (ports.has(key)) refuse(`publishes ${key} twice: a port can be held once`);
    ports.add(key);
  }
}

/** A name that occurs twice in one kind, if one does: `gpu "gpu-0"`. */
function repeated(named: NamedResources): string | undefined {
  for (const [kind, names] of Object.entries(named)) {
    const seen = new Set<string>();
    for (const name of names) {
      if (seen.has(name)) return `${kind} "${name}"`;
      seen.add(name);
    }
  }
  return undefined;
}
