/** A second, plain implementation of the rules, which shares no code with the scheduler. */
import { matchConstraints, type Delta, type NodeState, type Placed, type TaskState } from "../../src/index.ts";

const five = 5 * 60_000;
const value = (node: NodeState, key: string): string | undefined => {
  if (key === "node.id") return node.id;
  if (key === "node.hostname") return node.hostname;
  return node.labels?.[key.replace("node.labels.", "")];
};

export class ModelWorld {
  readonly nodes = new Map<string, NodeState>();
  readonly tasks = new Map<string, TaskState>();
  failures: (Delta & { kind: "failure" })[] = [];
  now = Number.NEGATIVE_INFINITY;

  apply(delta: Delta): void {
    if (delta.kind === "node") this.nodes.set(delta.node.id, delta.node);
    else if (delta.kind === "node-gone") {
      this.nodes.delete(delta.nodeId);
      this.failures = this.failures.filter((each) => each.nodeId !== delta.nodeId);
    } else if (delta.kind === "task") {
      const before = this.tasks.get(delta.task.id);
      const keeps =
        before?.named !== undefined && before.nodeId === delta.task.nodeId && delta.task.named === undefined;
      this.tasks.set(delta.task.id, keeps ? { ...delta.task, named: before.named } : delta.task);
    } else if (delta.kind === "task-gone") this.tasks.delete(delta.taskId);
    else if (delta.kind === "time") this.now = Math.max(this.now, delta.now);
    else {
      this.now = Math.max(this.now, delta.at);
      if (this.nodes.has(delta.nodeId)) this.failures.push(delta);
    }
  }

  take(decision: Placed): void {
    for (const { taskId } of decision.victims ?? []) this.tasks.delete(taskId);
    const task = this.tasks.get(decision.taskId) as TaskState;
    const named = decision.named === undefined ? {} : { named: decision.named };
    this.tasks.set(task.id, { ...task, nodeId: decision.nodeId, ...named });
  }

  /** The deltas that build it. */
  deltas(): Delta[] {
    return [
      ...[...this.nodes.values()].map((node): Delta => ({ kind: "node", node })),
      ...[...this.tasks.values()].map((task): Delta => ({ kind: "task", task })),
      ...this.failures,
      ...(Number.isFinite(this.now) ? [{ kind: "time", now: this.now } as const] : []),
    ];
  }

  held(nodeId?: string): TaskState[] {
    return [...this.tasks.values()].filter(
      (task) => task.nodeId !== undefined && (nodeId ?? task.nodeId) === task.nodeId,
    );
  }

  staying(nodeId?: string): TaskState[] {
    return this.held(nodeId).filter((task) => task.leaving !== true);
  }

  /** Tasks of a service in the domain that `node` is in, or undefined where it is in none. */
  beside(service: string, key: string, node: NodeState): number | undefined {
    const domain = value(node, key);
    if (domain === undefined) return undefined;
    return this.staying().filter((task) => {
      const on = this.nodes.get(task.nodeId ?? "");
      return task.serviceId === service && on !== undefined && value(on, key) === domain;
    }).length;
  }

  passes(node: NodeState, task: TaskState): boolean {
    return this.refusals(node, task).length === 0;
  }

  /** The names of the filters that refuse the node, in the filters' order. */
  refusals(node: NodeState, task: TaskState): string[] {
    const here = this.held(node.id);
    const own = this.staying(node.id).filter((each) => each.serviceId === task.serviceId);
    const capacity = (kind: string): number => node.named?.[kind]?.length ?? node.resources?.[kind] ?? 0;
    const used = (kind: string): number => here.reduce((sum, each) => sum + (each.reservations?.[kind] ?? 0), 0);
    const homes = (name: string): string[] => [
      ...[...this.nodes.values()].filter((each) => each.volumes?.includes(name)).map((each) => each.id),
      ...this.held()
        .filter((each) => each.localVolumes?.includes(name))
        .map((each) => each.nodeId ?? ""),
    ];
    const required = (task.affinity ?? []).filter((term) => term.required !== false);
    const tolerates = (taint: { key: string; value?: string; effect: string }): boolean =>
      (task.tolerations ?? []).some(
        (each) =>
          (each.key ?? taint.key) === taint.key &&
          (each.value ?? taint.value ?? "") === (taint.value ?? "") &&
          (each.effect ?? taint.effect) === taint.effect,
      );
    const checks: Record<string, boolean> = {
      ready: node.ready && node.active,
      level: (task.level ?? 0) <= (node.level ?? 0),
      constraints: (task.constraints ?? []).every((each) => matchConstraints([parse(each)], node)),
      platform:
        (task.platforms ?? []).length === 0 ||
        task.platforms!.some((each) => each.os === node.platform?.os && each.arch === node.platform.arch),
      taints: (node.taints ?? []).every((taint) => taint.effect !== "no-schedule" || tolerates(taint)),
      networks: (task.networks ?? []).every((each) => node.networks?.includes(each)),
      volumes: (task.volumes ?? []).every((each) => node.volumes?.includes(each)),
      "local-volumes": (task.localVolumes ?? []).every(
        (each) => homes(each).length === 0 || homes(each).includes(node.id),
      ),
      affinity: required
        .filter((term) => term.kind === "affinity")
        .every((term) => {
          const begins =
            term.service === task.serviceId && !this.staying().some((each) => each.serviceId === task.serviceId);
          return begins || (this.beside(term.service, term.topology, node) ?? 0) > 0;
        }),
      "anti-affinity":
        required
          .filter((term) => term.kind === "anti-affinity")
          .every((term) => (this.beside(term.service, term.topology, node) ?? 0) === 0) &&
        !this.staying().some((other) =>
          (other.affinity ?? []).some((term) => {
            if (term.kind !== "anti-affinity" || term.required === false || term.service !== task.serviceId)
              return false;
            const on = this.nodes.get(other.nodeId ?? "");
            const domain = on === undefined ? undefined : value(on, term.topology);
            return domain !== undefined && domain === value(node, term.topology);
          }),
        ),
      addresses: node.addresses === undefined || here.length < node.addresses,
      "host-ports": (task.hostPorts ?? []).every(
        (port) =>
          !here.some((each) =>
            each.hostPorts?.some((other) => other.port === port.port && other.protocol === port.protocol),
          ),
      ),
      "max-per-node": (task.maxPerNode ?? 0) === 0 || own.length < task.maxPerNode!,
      resources: Object.entries(task.reservations ?? {}).every(
        ([kind, amount]) => amount === 0 || used(kind) + amount <= capacity(kind),
      ),
    };
    return Object.keys(checks).filter((name) => checks[name] !== true);
  }

  /** The values that `spread` compares, most important first; lower is better. */
  rank(node: NodeState, task: TaskState): number[] {
    const here = this.held(node.id);
    const stay = this.staying(node.id);
    const own = (tasks: readonly TaskState[]): number =>
      tasks.filter((each) => each.serviceId === task.serviceId).length;
    const keys = (task.preferences ?? []).map((each) => each.replace("spread=", ""));
    const branches = keys.map((_, level) =>
      own(
        this.staying().filter((each) => {
          const on = this.nodes.get(each.nodeId ?? "");
          return on !== undefined && keys.slice(0, level + 1).every((key) => value(on, key) === value(node, key));
        }),
      ),
    );
    const failed = this.failures.filter(
      (each) =>
        each.nodeId === node.id &&
        each.serviceId === task.serviceId &&
        each.specVersion === task.specVersion &&
        each.at >= this.now - five,
    ).length;
    const unmet = (task.affinity ?? []).filter(
      (term) =>
        term.required === false &&
        (this.beside(term.service, term.topology, node) ?? 0) > 0 !== (term.kind === "affinity"),
    ).length;
    const soft = (node.taints ?? []).filter(
      (taint) =>
        taint.effect === "prefer-no-schedule" &&
        !(task.tolerations ?? []).some(
          (each) =>
            (each.key ?? taint.key) === taint.key &&
            (each.value ?? taint.value ?? "") === (taint.value ?? "") &&
            (each.effect ?? taint.effect) === taint.effect,
        ),
    ).length;
    const image = task.image === undefined || node.images?.includes(task.image) ? 0 : 1;
    const free = Object.entries(node.resources ?? {})
      .filter(([kind, all]) => ["cpu", "memory", "disk", "pids"].includes(kind) && all > 0)
      .map(([kind, all]) =>
        Math.max(0, (all - here.reduce((sum, each) => sum + (each.reservations?.[kind] ?? 0), 0)) / all),
      );
    const headroom = 16 - Math.floor(16 * Math.min(1, ...free));
    return [...branches, failed >= 5 ? 1 : 0, unmet, soft, own(stay), stay.length, image, headroom];
  }
}

export function compareRanks(a: readonly number[], b: readonly number[]): number {
  for (const [at, each] of a.entries()) if (each !== b[at]) return each - (b[at] ?? 0);
  return 0;
}

/** `key == value` and `key != value` only. */
function parse(text: string): { key: string; operator: "==" | "!="; values: string[] } {
  const [, key = "", operator = "==", wanted = ""] = /^(\S+) (==|!=) (\S+)$/.exec(text) ?? [];
  return { key, operator: operator as "==" | "!=", values: [wanted] };
}
