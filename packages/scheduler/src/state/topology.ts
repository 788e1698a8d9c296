import type { Node } from "./node.ts";

/** The value of a path, for `World.paths`. */
export function pathOf(values: readonly string[]): string {
  return values.join("\u0000");
}

interface Domain {
  readonly nodes: Set<Node>;
  /** serviceId → tasks on its nodes that stay. */
  readonly tasks: Map<string, number>;
}

const noNodes: ReadonlySet<Node> = new Set();

/** Whether a key's domains are single nodes, or nearly so: such domains get no list of their own. */
export function isNarrow(key: string): boolean {
  const lower = key.toLowerCase();
  return lower === "node.id" || lower === "node.hostname";
}

/** Known nodes by the value of a key, and the tasks in each domain. */
export class Topology {
  readonly #read: (node: Node) => string | undefined;
  readonly #domains = new Map<string, Domain>();
  readonly narrow: boolean;

  constructor(read: (node: Node) => string | undefined, narrow = false) {
    this.#read = read;
    this.narrow = narrow;
  }

  nodes(value: string): ReadonlySet<Node> {
    return this.#domains.get(value)?.nodes ?? noNodes;
  }

  tasks(value: string, serviceId: string): number {
    return this.#domains.get(value)?.tasks.get(serviceId) ?? 0;
  }

  enter(node: Node): void {
    const value = this.#read(node);
    if (value === undefined) return;
    const domain = this.#domains.get(value) ?? { nodes: new Set(), tasks: new Map() };
    domain.nodes.add(node);
    for (const [serviceId, count] of node.services) addTo(domain.tasks, serviceId, count);
    this.#domains.set(value, domain);
  }

  leave(node: Node): void {
    const value = this.#read(node);
    const domain = value === undefined ? undefined : this.#domains.get(value);
    if (value === undefined || domain === undefined) return;
    domain.nodes.delete(node);
    for (const [serviceId, count] of node.services) addTo(domain.tasks, serviceId, -count);
    if (domain.nodes.size === 0) this.#domains.delete(value);
  }

  /** Counts a task; returns the domain's value if it gained its first task of the service or lost its last. */
  count(node: Node, serviceId: string, by: 1 | -1): string | undefined {
    const value = this.#read(node);
    const domain = value === undefined ? undefined : this.#domains.get(value);
    if (domain === undefined) return undefined;
    const now = addTo(domain.tasks, serviceId, by);
    return now === 0 || (now === 1 && by === 1) ? value : undefined;
  }
}

function addTo(counts: Map<string, number>, key: string, by: number): number {
  const sum = (counts.get(key) ?? 0) + by;
  if (sum === 0) counts.delete(key);
  else counts.set(key, sum);
  return sum;
}
