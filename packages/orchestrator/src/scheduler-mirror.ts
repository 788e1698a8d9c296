/**
 * The scheduler, kept as the store is: each change of nodes and slots is applied to it.
 *
 * A lease of a slot in which nothing else may run is pending in the scheduler, and placed with the others that are. One
 * that takes over from another is asked for by itself, as it fits into what that one leaves (see `successionOf`).
 */
import type { Lease, Slot, Task } from "@warren/api";
import { idOf, leaseKey, parseLeaseKey, sameEpoch, serviceOfSlot } from "@warren/api/model";
import {
  defaultFilters,
  Scheduler,
  SchedulerError,
  type Decision,
  type Filter,
  type TaskState as SchedulerTask,
} from "@warren/scheduler";
import type { View } from "@warren/store";
import type { AddressBook } from "./addresses.ts";
import type { LoopDependencies } from "./control-loop.ts";
import type { Placed, Waiting } from "./offer.ts";
import { isActive, isReady, stateSince } from "./reading.ts";
import { RecentFailures } from "./recent-failures.ts";
import {
  hostPortsNow,
  hostPortsOf,
  nodeState,
  roleOf,
  schedulerTask,
  successionOf,
  type LeaseSubject,
} from "./scheduling-input.ts";
import { hasFailed } from "./slots.ts";

export class SchedulerMirror {
  readonly #deps: LoopDependencies;
  readonly #addresses: AddressBook;
  #scheduler: Scheduler;
  /** What was last applied of each node, to apply only what is new. */
  readonly #nodes = new Map<string, string>();
  /** Slot → keys of its leases that the scheduler knows, or that are asked for by themselves. */
  readonly #slots = new Map<string, ReadonlySet<string>>();
  /** Service → what its leases were last applied with that they have of it. */
  readonly #terms = new Map<string, string>();
  /** Leases that take over from another and have no node. */
  readonly #successors = new Set<string>();
  /** Lease → nodes that it is not placed on. */
  readonly #avoid = new Map<string, ReadonlySet<string>>();
  readonly #failures = new RecentFailures();
  /** Leases that the scheduler can't read, and why. */
  readonly #unreadable = new Map<string, string>();
  /** Leases that have no node. */
  readonly waiting: Set<string> = new Set();
  /** When a node is no longer avoided that the last decisions left out, ms from then; undefined: none was. */
  retryInMs: number | undefined;

  constructor(deps: LoopDependencies, addresses: AddressBook) {
    this.#deps = deps;
    this.#addresses = addresses;
    this.#scheduler = this.#fresh();
  }

  /** Fills it anew. */
  begin(view: View): void {
    const { clock } = this.#deps;
    this.#scheduler = this.#fresh();
    for (const known of [this.#nodes, this.#slots, this.#terms, this.#unreadable, this.#successors, this.waiting])
      known.clear();
    this.#addresses.clear();
    this.#failures.clear();
    for (const node of view.list("nodes")) this.#applyNode(view, idOf(node));
    for (const id of new Set(view.list("slots").map(({ serviceId }) => serviceId))) this.putService(view, id);
    const failures = view
      .list("tasks")
      .filter(hasFailed)
      .map((task) => ({ task, at: clock.monotonic() - Math.max(0, clock.now() - stateSince(task, clock.now())) }));
    for (const { task, at } of failures.toSorted((a, b) => a.at - b.at)) this.#putFailure(view, task, at);
  }

  /** True if it is another than before. */
  putNode(view: View, id: string): boolean {
    const isNew = this.#applyNode(view, id);
    // Whether a lease counts as leaving depends on its node (see `schedulerTask`).
    if (isNew) for (const slot of view.find("slots", "node", id)) this.putSlot(view, idOf(slot));
    return isNew;
  }

  #applyNode(view: View, id: string): boolean {
    const node = view.get("nodes", id);
    // Without a subnet its tasks would have no address; it has one as soon as the pool has.
    const state = node === undefined || node.subnet === "" ? undefined : nodeState(node, roleOf(view, id));
    const text = JSON.stringify(state);
    if (node === undefined) this.#addresses.forget(id);
    if (this.#nodes.get(id) === text) return false;
    if (state === undefined) {
      this.#nodes.delete(id);
      this.#scheduler.apply({ kind: "node-gone", nodeId: id });
    } else {
      this.#nodes.set(id, text);
      this.#scheduler.apply({ kind: "node", node: state });
    }
    return true;
  }

  /** True if there may be something to decide: a lease waits, or one has let go of what another waits for. */
  putSlot(view: View, id: string): boolean {
    const slot = view.get("slots", id);
    const serviceId = serviceOfSlot(id);
    if (slot === undefined && view.find("slots", "service", serviceId).length === 0) {
      this.#terms.delete(serviceId);
      this.#failures.forget(serviceId);
    }
    if (slot !== undefined && this.#terms.get(serviceId) !== termsOf(view, slot))
      return this.putService(view, serviceId);
    return this.#applySlot(view, id);
  }

  #applySlot(view: View, id: string): boolean {
    const slot = view.get("slots", id);
    const before = this.#slots.get(id) ?? new Set<string>();
    const keys = new Set<string>();
    if (slot !== undefined) {
      this.#addresses.note(slot);
      for (const lease of slot.leases) if (this.#put(view, slot, lease)) keys.add(leaseKey(id, lease.epoch));
    }
    for (const key of before) if (!keys.has(key)) this.#remove(key);
    if (keys.size === 0) this.#slots.delete(id);
    else this.#slots.set(id, keys);
    return this.waiting.size > 0;
  }

  /** As `putSlot`, of the slot that has the lease. */
  putLease(view: View, key: string): boolean {
    const named = parseLeaseKey(key);
    return named !== undefined && this.putSlot(view, named.slotId);
  }

  putTask(view: View, before: Task | undefined, task: Task): void {
    if (hasFailed(task) && !(before !== undefined && hasFailed(before)))
      this.#putFailure(view, task, this.#deps.clock.monotonic());
  }

  /** As `putSlot`, of all slots that the service has. */
  putService(view: View, id: string): boolean {
    const slots = view.find("slots", "service", id);
    const [first] = slots;
    if (first !== undefined) {
      const terms = termsOf(view, first);
      // Tasks of one version that wait have to ask for the same, so none is left that asks for what was before.
      if (this.#terms.get(id) !== terms)
        for (const slot of slots)
          for (const key of this.#slots.get(idOf(slot)) ?? [])
            if (this.waiting.has(key)) this.#scheduler.apply({ kind: "task-gone", taskId: key });
      this.#terms.set(id, terms);
    }
    let news = false;
    for (const slot of slots) news = this.#applySlot(view, idOf(slot)) || news;
    return news;
  }

  /** Places what waits, as far as it can, and says why the rest waits. */
  decide(view: View, monotonic: number): (Placed | Waiting)[] {
    this.#scheduler.apply({ kind: "time", now: monotonic });
    this.retryInMs = undefined;
    const decisions: (Placed | Waiting)[] = [];
    for (const key of this.#successors) {
      const decision = this.#decideSuccessor(view, key);
      if (decision !== undefined) decisions.push(decision);
    }
    decisions.push(...this.#scheduler.schedule());
    for (const [taskId, text] of this.#unreadable)
      decisions.push({ kind: "waiting", taskId, nodes: 0, refusals: [], text });
    return decisions;
  }

  #fresh(): Scheduler {
    const { random } = this.#deps;
    return new Scheduler({ seed: random.int(2 ** 31), filters: [...defaultFilters, elsewhere(this.#avoid)] });
  }

  /** Asks for one that takes over from another, and keeps its place. */
  #decideSuccessor(view: View, key: string): Decision | undefined {
    const subject = this.#subjectOf(view, key);
    const task = subject === undefined ? undefined : schedulerTask(subject);
    const succession = subject === undefined ? undefined : successionOf(subject, (id) => view.get("versions", id));
    if (subject === undefined || task === undefined || succession === undefined) return undefined;
    this.#avoid.set(key, new Set([...succession.avoid, ...this.#failingNodes(subject, succession.avoid)]));
    try {
      const decision = this.#scheduler.wouldFit(task, {
        onceGone: succession.onceGone,
        onceLeaving: succession.onceLeaving,
      });
      if (decision.kind === "placed")
        this.#scheduler.apply({ kind: "task", task: { ...task, nodeId: decision.nodeId } });
      return decision;
    } catch (error) {
      if (!SchedulerError.is(error)) throw error;
      return { kind: "waiting", taskId: key, nodes: 0, refusals: [], text: error.message };
    } finally {
      this.#avoid.delete(key);
    }
  }

  /** L9: nodes on which the version of a lease that moves has failed lately. */
  #failingNodes({ slot, version }: LeaseSubject, left: readonly string[]): string[] {
    if (left.length === 0) return [];
    const nodes = this.#failures.of(slot.serviceId, idOf(version), this.#deps.clock.monotonic());
    for (const { leftMs } of nodes) this.retryInMs = Math.min(this.retryInMs ?? leftMs, leftMs);
    return nodes.map(({ nodeId }) => nodeId);
  }

  /** False if the lease neither waits for a node nor has one. */
  #put(view: View, slot: Slot, lease: Lease): boolean {
    const key = leaseKey(idOf(slot), lease.epoch);
    const subject = this.#subject(view, slot, lease);
    const task = subject === undefined ? undefined : schedulerTask(subject);
    if (subject === undefined || task === undefined) return false;
    this.#unreadable.delete(key);
    this.#successors.delete(key);
    this.waiting.delete(key);
    if (task.nodeId === undefined) {
      this.waiting.add(key);
      if (successionOf(subject, (id) => view.get("versions", id)) !== undefined) {
        this.#successors.add(key);
        this.#scheduler.apply({ kind: "task-gone", taskId: key });
        return true;
      }
    }
    this.#apply(key, task);
    return true;
  }

  #apply(key: string, task: SchedulerTask): void {
    try {
      this.#scheduler.apply({ kind: "task", task });
    } catch (error) {
      if (!SchedulerError.is(error)) throw error;
      this.#unreadable.set(key, error.message);
    }
  }

  #remove(key: string): void {
    this.#scheduler.apply({ kind: "task-gone", taskId: key });
    this.#unreadable.delete(key);
    this.#successors.delete(key);
    this.waiting.delete(key);
  }

  #subjectOf(view: View, key: string): LeaseSubject | undefined {
    const named = parseLeaseKey(key);
    const slot = named === undefined ? undefined : view.get("slots", named.slotId);
    const lease = slot?.leases.find(({ epoch }) => sameEpoch(epoch, named?.epoch));
    return slot === undefined || lease === undefined ? undefined : this.#subject(view, slot, lease);
  }

  #subject(view: View, slot: Slot, lease: Lease): LeaseSubject | undefined {
    const version = view.get("versions", lease.versionId);
    if (version === undefined) return undefined;
    const service = view.get("services", slot.serviceId);
    const wanted = service === undefined ? undefined : view.get("versions", service.versionId);
    const node = view.get("nodes", lease.nodeId);
    const isNodeClosed = node === undefined || !isReady(node) || !isActive(node);
    return { slot, lease, version, service, wanted, hostPorts: hostPortsOf(lease, service), isNodeClosed };
  }

  #putFailure(view: View, { nodeId, serviceId, versionId }: Task, at: number): void {
    this.#failures.put(serviceId, versionId, nodeId, at);
    const specVersion = view.get("versions", versionId)?.number;
    if (specVersion !== undefined) this.#scheduler.apply({ kind: "failure", nodeId, serviceId, specVersion, at });
  }
}

/** What all leases of a service have of it, whichever version they are made from: its placement and its host ports. */
function termsOf(view: View, slot: Slot): string {
  const service = view.get("services", slot.serviceId);
  return service === undefined ? "deleted" : JSON.stringify([service.versionId, hostPortsNow(service)]);
}

/** Keeps a lease off the nodes that its slot leaves, and those on which its version failed lately. */
function elsewhere(avoid: ReadonlyMap<string, ReadonlySet<string>>): Filter {
  return {
    name: "elsewhere",
    reads: "state",
    check({ id }) {
      const nodes = avoid.get(id);
      return nodes === undefined || nodes.size === 0 ? undefined : ({ state }) => !nodes.has(state.id);
    },
    explain: (_task, { state }) => ({
      text: `ruled out, as the task is to leave it or failed there lately: ${state.hostname ?? state.id}`,
    }),
  };
}
