import { topologyOf } from "../constraints.ts";
import type { Filter, NodeView, Partitioning, World } from "../rules.ts";
import { isNarrow } from "../state/topology.ts";
import { andText, clip, nameOf } from "../text.ts";
import type { AffinityTerm, NodeState, TaskState } from "../types.ts";
import { followsTasks } from "./ties.ts";

/** The domain of a node in a topology; undefined where it is in none. */
export function domainOf(topology: string, node: NodeState): string | undefined {
  return topologyOf(topology)?.(node);
}

/** Partitions by domain; nodes in none are a partition of their own. */
export function partitionBy(topology: string): Partitioning {
  return {
    key: topology,
    of(node) {
      const value = domainOf(topology, node);
      return value === undefined ? "" : `=${value}`;
    },
  };
}

function terms({ affinity }: TaskState, kind: AffinityTerm["kind"]): readonly AffinityTerm[] {
  if (affinity === undefined) return [];
  return affinity.filter((term) => term.kind === kind && term.required !== false);
}

/** The first task of a service with affinity to itself may be placed anywhere. */
function begins(task: TaskState, { service }: AffinityTerm, world: World): boolean {
  return service === task.serviceId && world.nodesOf(service).size === 0;
}

function holds({ service, topology }: AffinityTerm, node: NodeView, world: World): boolean {
  const value = domainOf(topology, node.state);
  return value !== undefined && world.tasksIn(service, topology, value) > 0;
}

/** Required affinity: the node's domain holds a task of each named service. */
export const affinity: Filter = {
  name: "affinity",
  check(task, world) {
    const wanted = terms(task, "affinity");
    if (wanted.length === 0) return undefined;
    return (node) => wanted.every((term) => holds(term, node, world) || begins(task, term, world));
  },
  among(task, world) {
    for (const term of terms(task, "affinity")) {
      if (begins(task, term, world)) continue;
      if (term.topology === "node.id") return new Set(world.nodesOf(term.service).keys());
      if (isNarrow(term.topology)) return domainsOf(term, world);
    }
    return undefined;
  },
  partitions(task) {
    const all = terms(task, "affinity");
    return all.some((term) => isNarrow(term.topology)) ? undefined : wide(all);
  },
  wakeKeys: (task) => terms(task, "affinity").map((term) => `service:${term.service}`),
  explain(task, node, world) {
    const unmet = terms(task, "affinity").filter((term) => !holds(term, node, world) && !begins(task, term, world));
    const [{ service, topology } = { service: "", topology: "" }] = unmet;
    const running = world.nodesOf(service).size > 0;
    const shunned = terms(task, "anti-affinity").map((term) => term.service);
    const startable = unmet.every(
      (term) =>
        term.service !== task.serviceId &&
        !shunned.includes(term.service) &&
        domainOf(term.topology, node.state) !== undefined,
    );
    const starts = unmet.map((term) => `start service ${clip(term.service)} in ${domainText(term.topology, node)}`);
    return {
      text: `not beside service ${clip(service)}, by ${clip(topology)}: ${running ? `${nameOf(node)} is elsewhere` : "it has no task anywhere"}`,
      ...(startable ? { help: andText(starts) } : {}),
      data: { service: clip(service), topology: clip(topology) },
    };
  },
  distance: (task, node, world) => terms(task, "affinity").filter((term) => !holds(term, node, world)).length,
};

/** Required anti-affinity, both ways: the node's domain holds no task of the named services, and none that keeps this service away. */
export const antiAffinity: Filter = {
  name: "anti-affinity",
  check(task, world) {
    const unwanted = terms(task, "anti-affinity");
    const away = world.repulsions(task.serviceId);
    if (unwanted.length === 0 && away.size === 0) return undefined;
    return (node) => !unwanted.some((term) => holds(term, node, world)) && !isRepelled(task, node, world);
  },
  share(task, world) {
    const unwanted = terms(task, "anti-affinity");
    const away = world.repulsions(task.serviceId);
    const keys = [...unwanted.map((term) => term.topology), ...away.keys()];
    if (keys.length === 0 || !keys.every(isNarrow)) return undefined;
    return JSON.stringify([away.size > 0 ? task.serviceId : "", unwanted.map((term) => [term.service, term.topology])]);
  },
  partitions(task, world) {
    const unwanted = terms(task, "anti-affinity");
    const keys = [...unwanted.map((term) => term.topology), ...world.repulsions(task.serviceId).keys()];
    return keys.some(isNarrow) ? undefined : keys.map(partitionBy);
  },
  wakeKeys: (task) => [
    ...terms(task, "anti-affinity").map((term) => `service:${term.service}`),
    `repelled:${task.serviceId}`,
  ],
  explain(task, node, world) {
    const met = terms(task, "anti-affinity").filter((term) => holds(term, node, world));
    const away = repelledBy(task, node, world);
    const stops = [
      ...met.map((term) => `stop service ${clip(term.service)} in ${domainText(term.topology, node)}`),
      ...away.map((topology) => `stop what keeps service ${clip(task.serviceId)} out of ${domainText(topology, node)}`),
    ];
    // Stopping a task may remove one that the affinity needs.
    const helps = followsTasks(task) ? {} : { help: andText(stops) };
    const [first] = met;
    if (first === undefined) {
      return {
        text: `closed to service ${clip(task.serviceId)} by another service's anti-affinity: ${nameOf(node)} is in ${domainText(away[0] ?? "", node)}`,
        ...helps,
        data: { service: clip(task.serviceId) },
      };
    }
    const value = clip(domainOf(first.topology, node.state) ?? "");
    return {
      text: `beside service ${clip(first.service)}: ${nameOf(node)} is in ${domainText(first.topology, node)}`,
      ...helps,
      data: { service: clip(first.service), topology: clip(first.topology), value },
    };
  },
  distance(task, node, world) {
    const met = terms(task, "anti-affinity").filter((term) => holds(term, node, world)).length;
    return met + (isRepelled(task, node, world) ? 1 : 0);
  },
};

/** Asked for each node, so it ends with the first that does. */
function isRepelled(task: TaskState, node: NodeView, world: World): boolean {
  for (const [topology, counts] of world.repulsions(task.serviceId)) if (repels(topology, counts, node)) return true;
  return false;
}

/** The topologies over which tasks in the node's domain keep the task's service away. */
function repelledBy(task: TaskState, node: NodeView, world: World): string[] {
  return [...world.repulsions(task.serviceId)]
    .filter(([topology, counts]) => repels(topology, counts, node))
    .map(([topology]) => topology);
}

function repels(topology: string, counts: ReadonlyMap<string, number>, node: NodeView): boolean {
  const value = domainOf(topology, node.state);
  return value !== undefined && counts.has(value);
}

/** `node.labels.zone "north"` */
function domainText(topology: string, node: NodeView): string {
  return `${clip(topology)} "${clip(domainOf(topology, node.state) ?? "")}"`;
}

export function wide(list: readonly AffinityTerm[]): Partitioning[] {
  return list.filter((term) => !isNarrow(term.topology)).map((term) => partitionBy(term.topology));
}

/** The nodes of all domains that hold a task of the term's service. */
export function domainsOf({ service, topology }: AffinityTerm, world: World): Set<NodeView> {
  const found = new Set<NodeView>();
  for (const node of world.nodesOf(service).keys()) {
    const value = domainOf(topology, node.state);
    if (value !== undefined) for (const each of world.domain(topology, value)) found.add(each);
  }
  return found;
}
