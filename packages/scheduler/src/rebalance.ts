/**
 * Rebalancing with few moves, tried one by one on a fork: a task is removed, and the scheduler chooses a node for it anew.
 * A move is kept only if it gains enough:
 *
 * - it evens out a service: by two tasks or more, between the partitions of a preference or between nodes;
 * - or it evens out loads, by two tasks and more than a fifth of the mean, and leaves the service spread as well as before.
 *
 * The last task of a service is not moved away from tasks that require it beside them.
 */
import { domainOf, partitionBy } from "./filters/affinity.ts";
import { spreadKey } from "./requirements.ts";
import { SchedulerError } from "./errors.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Node } from "./state/node.ts";
import type { World } from "./state/world.ts";
import type { TaskState } from "./types.ts";
import { unplaced } from "./what-if.ts";

export interface Move {
  readonly taskId: string;
  readonly serviceId: string;
  readonly fromNodeId: string;
  readonly toNodeId: string;
  readonly text: string;
}

export interface RebalanceOptions {
  /** Moves at most. */
  readonly maxMoves: number;
}

/** Share of the mean load that a difference of loads must exceed. */
const meaningful = 0.2;
/** The priority of a task that must not displace any other. */
const lowestPriority = Number.MIN_SAFE_INTEGER;

/** A node's tasks after the moves so far, without those that are leaving. */
class Place {
  readonly node: Node;
  readonly tasks: Map<string, TaskState>;

  constructor(node: Node) {
    this.node = node;
    this.tasks = new Map([...node.tasks].filter(([, task]) => task.leaving !== true));
  }

  get id(): string {
    return this.node.state.id;
  }

  of(serviceId: string): TaskState[] {
    return [...this.tasks.values()].filter((task) => task.serviceId === serviceId).toSorted(byId);
  }

  /** One task of each service, by service. */
  samples(): TaskState[] {
    const found = new Map<string, TaskState>();
    for (const task of [...this.tasks.values()].toSorted(byId)) found.set(task.serviceId, task);
    return [...found.values()].toSorted((a, b) => (a.serviceId < b.serviceId ? -1 : 1));
  }
}

export function rebalance(fork: Scheduler, world: World, { maxMoves }: RebalanceOptions): Move[] {
  if (!Number.isSafeInteger(maxMoves) || maxMoves < 0) {
    throw new SchedulerError(
      { code: "SCHEDULER_OPTIONS_INVALID", option: "maxMoves" },
      `maxMoves is ${maxMoves}: give 0 or more`,
    );
  }
  const plan = new Plan(fork, world, maxMoves);
  plan.spreadServices();
  plan.levelLoads();
  return [...plan.moves.values()];
}

class Plan {
  /** Moves by task, in the order in which they were found. */
  readonly moves: Map<string, Move> = new Map();
  readonly #fork: Scheduler;
  readonly #most: number;
  readonly #places = new Map<string, Place>();
  readonly #services = new Map<string, Set<Place>>();
  /** Topologies over which other tasks require a service beside them. */
  readonly #required = new Map<string, Set<string>>();

  constructor(fork: Scheduler, world: World, most: number) {
    this.#fork = fork;
    this.#most = most;
    for (const node of world.known) {
      const place = new Place(node);
      this.#places.set(place.id, place);
      for (const serviceId of node.services.keys()) this.#enter(serviceId, place);
      for (const { affinity = [] } of place.tasks.values()) {
        for (const { kind, service, topology, required } of affinity) {
          if (kind !== "affinity" || required === false) continue;
          this.#required.set(service, (this.#required.get(service) ?? new Set()).add(topology));
        }
      }
    }
  }

  /** Evens out services, the most crowded first. */
  spreadServices(): void {
    const crowded = [...this.#services]
      .map(([serviceId, places]) => {
        const counts = [...places].map((place) => place.of(serviceId).length);
        const prefers = [...places].some((place) => (place.of(serviceId)[0]?.preferences ?? []).length > 0);
        return { serviceId, most: Math.max(...counts), prefers };
      })
      .filter(({ most, prefers }) => most > 1 || prefers)
      .toSorted((a, b) => b.most - a.most || (a.serviceId < b.serviceId ? -1 : 1));
    for (const { serviceId } of crowded) while (this.#spreadOne(serviceId));
  }

  /** Evens out loads, the most loaded nodes first. Tasks that are moved already are tried before others, since moving them elsewhere costs no further move. */
  levelLoads(): void {
    const tried = new Set<string>();
    for (;;) {
      const places = [...this.#places.values()].toSorted(
        (a, b) => b.tasks.size - a.tasks.size || (a.id < b.id ? -1 : 1),
      );
      const least = Math.min(...places.filter((place) => isUp(place.node)).map((place) => place.tasks.size));
      const full = places.filter((place) => place.tasks.size - least >= this.#gap());
      const found =
        full.some((place) => this.#moved(place).some((task) => this.#try(place, task, true))) ||
        full.some((place) => !tried.has(place.id) && this.#level(place, tried));
      if (!found) return;
    }
  }

  /** A node without a task whose move gains enough is not tried again. */
  #level(place: Place, tried: Set<string>): boolean {
    if (place.samples().some((task) => this.#try(place, task, true))) return true;
    tried.add(place.id);
    return false;
  }

  #moved(place: Place): TaskState[] {
    return [...this.moves.keys()].flatMap((id) => place.tasks.get(id) ?? []);
  }

  #spreadOne(serviceId: string): boolean {
    const places = [...(this.#services.get(serviceId) ?? [])];
    const parts = this.#parts(serviceId, places);
    const weight = (place: Place): number[] => [...parts(place), place.of(serviceId).length, place.tasks.size];
    const [worst] = places.toSorted((a, b) => compareLists(weight(b), weight(a)) || (a.id < b.id ? -1 : 1));
    const task = worst?.of(serviceId).at(-1);
    return worst !== undefined && task !== undefined && this.#try(worst, task, false);
  }

  /** Removes the task and lets the scheduler choose a node; keeps the move if it gains enough. */
  #try(from: Place, task: TaskState, forLoad: boolean): boolean {
    const { serviceId } = task;
    const before = this.moves.get(task.id);
    if (before === undefined && this.moves.size >= this.#most) return false;
    this.#fork.apply({ kind: "task", task: { ...unplaced(task), priority: lowestPriority } });
    const decision = this.#fork.schedule().find((each) => each.taskId === task.id);
    const to = decision?.kind === "placed" ? this.#places.get(decision.nodeId) : undefined;
    const text = to === undefined || to === from ? undefined : this.#gain(from, to, task, forLoad);
    if (to === undefined || text === undefined) {
      this.#fork.apply({ kind: "task", task });
      return false;
    }
    from.tasks.delete(task.id);
    to.tasks.set(task.id, { ...task, nodeId: to.id });
    this.#enter(serviceId, to);
    if (from.of(serviceId).length === 0) this.#services.get(serviceId)?.delete(from);
    const move = { taskId: task.id, serviceId, fromNodeId: before?.fromNodeId ?? from.id, toNodeId: to.id, text };
    if (move.fromNodeId === move.toNodeId) this.moves.delete(task.id);
    else this.moves.set(task.id, move);
    return true;
  }

  /** Whether a task is the last of its service in a domain where others may require it. */
  #isRequired(from: Place, to: Place, serviceId: string): boolean {
    for (const topology of this.#required.get(serviceId) ?? []) {
      const domain = domainOf(topology, from.node.state);
      if (domain === undefined || domain === domainOf(topology, to.node.state)) continue;
      let there = 0;
      for (const place of this.#services.get(serviceId) ?? []) {
        if (domainOf(topology, place.node.state) === domain) there += place.of(serviceId).length;
      }
      if (there <= 1) return true;
    }
    return false;
  }

  /** The gain of a move in words, or undefined if it is too small. */
  #gain(from: Place, to: Place, { serviceId }: TaskState, forLoad: boolean): string | undefined {
    if (this.#isRequired(from, to, serviceId)) return undefined;
    const parts = this.#parts(serviceId, [...(this.#services.get(serviceId) ?? [])]);
    for (const [level, count] of parts(from).entries()) {
      const other = parts(to)[level] ?? 0;
      if (count - other >= 2) return `its part holds ${count} of its service, the other ${other}`;
      if (count !== other) return undefined;
    }
    const [own, there] = [from.of(serviceId).length, to.of(serviceId).length];
    if (own - there >= 2) return `${own} of its service are there, ${there} on the other node`;
    const [load, less] = [from.tasks.size, to.tasks.size];
    if (forLoad && own > there && load - less >= this.#gap())
      return `${load} tasks are there, ${less} on the other node`;
    return undefined;
  }

  #gap(): number {
    let tasks = 0;
    for (const place of this.#places.values()) tasks += place.tasks.size;
    return Math.max(2, Math.floor((meaningful * tasks) / Math.max(1, this.#places.size)) + 1);
  }

  /** How many of a service's tasks are in a node's partition, for each level of its preferences. */
  #parts(serviceId: string, places: readonly Place[]): (place: Place) => number[] {
    const keys = (places[0]?.of(serviceId)[0]?.preferences ?? []).map((each) => partitionBy(spreadKey(each) ?? ""));
    const paths = ({ node }: Place): string[] =>
      keys.map((_, level) => JSON.stringify(keys.slice(0, level + 1).map((key) => key.of(node.state))));
    const counts = new Map<string, number>();
    for (const place of keys.length === 0 ? [] : places) {
      for (const path of paths(place)) counts.set(path, (counts.get(path) ?? 0) + place.of(serviceId).length);
    }
    return (place) => paths(place).map((path) => counts.get(path) ?? 0);
  }

  #enter(serviceId: string, place: Place): void {
    this.#services.set(serviceId, (this.#services.get(serviceId) ?? new Set()).add(place));
  }
}

function isUp({ state }: Node): boolean {
  return state.ready && state.active;
}

function byId(a: TaskState, b: TaskState): number {
  return a.id < b.id ? -1 : 1;
}

function compareLists(a: readonly number[], b: readonly number[]): number {
  for (const [at, value] of a.entries()) if (value !== b[at]) return value - (b[at] ?? 0);
  return 0;
}
