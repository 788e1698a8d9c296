import { matchConstraints, parseConstraints } from "./constraints.ts";
import type { Filter, NodeView, Platform, Resources, TaskState } from "./types.ts";

const ready: Filter = {
  name: "ready",
  check: () => (node) => node.state.ready && node.state.active,
  explain: (_task, node) =>
    `not ready or not active: ${nameOf(node)} is ${node.state.ready ? "paused or drained" : "down"}`,
};

const resources: Filter = {
  name: "resources",
  check(task) {
    const needs = Object.entries(task.reservations ?? {}).filter(([, amount]) => amount > 0);
    if (needs.length === 0) return undefined;
    return (node) => needs.every(([kind, amount]) => free(node, kind) >= amount);
  },
  explain(task, node) {
    const kind = scarcest(task.reservations ?? {}, node);
    const need = amountText(kind, task.reservations?.[kind] ?? 0);
    return `short of ${kind}: needs ${need}, most free is ${amountText(kind, free(node, kind))} on ${nameOf(node)}`;
  },
  distance: (task, node) => shortage(task.reservations ?? {}, node, scarcest(task.reservations ?? {}, node)),
};

const constraints: Filter = {
  name: "constraints",
  check(task) {
    if (task.constraints === undefined || task.constraints.length === 0) return undefined;
    const parsed = parseConstraints(task.constraints);
    return (node) => matchConstraints(parsed, node.state);
  },
  explain(task, node) {
    const failed = unmet(task, node)[0] ?? "";
    return `do not meet the constraints: nearest is ${nameOf(node)}, which fails "${failed}"`;
  },
  distance: (task, node) => unmet(task, node).length,
};

const platform: Filter = {
  name: "platform",
  check(task) {
    const wanted = task.platforms ?? [];
    if (wanted.length === 0) return undefined;
    return ({ state }) => wanted.some((each) => runs(state.platform, each));
  },
  explain: (task, { state }) =>
    `can't run the image: it is for ${(task.platforms ?? []).map(platformText).join(", ")}, ${state.hostname ?? state.id} is ${platformText(state.platform)}`,
};

const hostPorts: Filter = {
  name: "host-ports",
  check(task) {
    const ports = (task.hostPorts ?? []).map((each) => `${each.port}/${each.protocol}`);
    return ports.length === 0 ? undefined : (node) => ports.every((port) => !node.hostPorts.has(port));
  },
  explain(task, node) {
    const taken = (task.hostPorts ?? []).map((each) => `${each.port}/${each.protocol}`);
    return `have a host port in use: ${taken.filter((port) => node.hostPorts.has(port)).join(", ")} on ${nameOf(node)}`;
  },
};

const maxPerNode: Filter = {
  name: "max-per-node",
  check({ serviceId, maxPerNode: most = 0 }) {
    return most === 0 ? undefined : (node) => (node.services.get(serviceId) ?? 0) < most;
  },
  explain: (task) => `hold their limit of ${task.maxPerNode ?? 0} tasks of this service`,
};

/** In the order in which they are asked; a node is counted for the first that refuses it. */
export const defaultFilters: readonly Filter[] = [ready, constraints, platform, hostPorts, maxPerNode, resources];

/** How much of `kind` no task on `node` has reserved. */
function free(node: NodeView, kind: string): number {
  return (node.state.resources?.[kind] ?? 0) - (node.used.get(kind) ?? 0);
}

function shortage(needs: Resources, node: NodeView, kind: string): number {
  const need = needs[kind] ?? 0;
  return need <= 0 ? 0 : (need - free(node, kind)) / need;
}

function scarcest(needs: Resources, node: NodeView): string {
  let worst = "";
  for (const kind of Object.keys(needs).toSorted()) {
    if (worst === "" || shortage(needs, node, kind) > shortage(needs, node, worst)) worst = kind;
  }
  return worst;
}

function unmet(task: TaskState, node: NodeView): string[] {
  return (task.constraints ?? []).filter((each) => !matchConstraints(parseConstraints([each]), node.state));
}

const archAliases: ReadonlyMap<string, string> = new Map([
  ["x86_64", "amd64"],
  ["aarch64", "arm64"],
]);

function runs(node: Platform | undefined, image: Platform): boolean {
  const arch = (name: string): string => archAliases.get(name) ?? name;
  return (
    (image.os === "" || image.os === node?.os) && (image.arch === "" || arch(image.arch) === arch(node?.arch ?? ""))
  );
}

function platformText(each: Platform | undefined): string {
  return each === undefined ? "of no known platform" : `${each.os || "any"}/${each.arch || "any"}`;
}

function amountText(kind: string, amount: number): string {
  if (kind === "cpu") return `${round(amount / 1e9)} CPU`;
  if (kind !== "memory" && kind !== "disk") return String(amount);
  for (const [unit, size] of [
    ["GiB", 2 ** 30],
    ["MiB", 2 ** 20],
    ["KiB", 2 ** 10],
  ] as const) {
    if (amount >= size) return `${round(amount / size)} ${unit}`;
  }
  return `${amount} B`;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

function nameOf({ state }: NodeView): string {
  return state.hostname ?? state.id;
}
