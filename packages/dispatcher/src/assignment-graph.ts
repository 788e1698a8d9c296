/**
 * Keeps the objects of each node by reference counts as the state changes: always equal to `assignmentsOf`.
 *
 * An object is read once for all nodes that have it. When its needs change, its nodes get the new objects and release
 * the old ones; an object that a node no longer needs is removed from that node.
 *
 * G1: an object counts, for each node, its references: one if it is a root, and one from each object that needs it.
 * G2: only its endpoint needs a backend, so a backend has no counts of its own: its nodes are the endpoint's. Ten
 *     thousand backends on a hundred nodes would be a million counts.
 * G3: every step compares the newest state with the graph, so a change may be followed twice, or late.
 */
import { serviceOfSlot, type AssignedKind } from "@warren/api/model";
import type { View } from "@warren/store";

import { AssignedObject } from "./assigned-object.ts";
import type { Dirty } from "./dirty.ts";
import {
  groupsOf,
  ingress,
  isGroup,
  leasesOn,
  parseRef,
  read,
  rootsOf,
  type ObjectKind,
  type ObjectRef,
} from "./objects.ts";

/** The stream of one node. */
export interface Holder {
  readonly nodeId: string;
  /** The object was added (`isNew`) or has changed. */
  set(object: AssignedObject, isNew: boolean): void;
  removed(object: AssignedObject): void;
}

/** An object that at least one holder has. */
interface Entry {
  readonly ref: ObjectRef;
  readonly kind: ObjectKind;
  readonly key: string;
  object: AssignedObject | undefined;
  /** Without backends (G2). */
  needs: ReadonlySet<ObjectRef>;
  /** Of an endpoint: its backends (G2). */
  readonly backends: Map<ObjectRef, AssignedObject>;
  /** With the number of references (G1). */
  readonly holders: Map<Holder, number>;
}

export class AssignmentGraph {
  readonly #entries = new Map<ObjectRef, Entry>();
  /** The roots of each holder, by slot. */
  readonly #roots = new Map<Holder, Map<string, readonly ObjectRef[]>>();
  /** The groups that each service's endpoint was found in. */
  readonly #groups = new Map<string, readonly ObjectRef[]>();

  /** Adds a holder. It is called back for later changes, not for the objects that its node has now: see `objectsOf`. */
  open(view: View, holder: Holder): void {
    const roots = new Map<string, readonly ObjectRef[]>();
    this.#roots.set(holder, roots);
    this.#hold(view, ingress, holder, false);
    for (const ref of rootsOf(view, holder.nodeId))
      if (ref !== ingress) this.#refreshRoots(view, holder, slotOf(ref), false);
  }

  /** All objects of the holder's node. */
  objectsOf(holder: Holder): AssignedObject[] {
    const found: AssignedObject[] = [];
    const seen = new Set<ObjectRef>();
    const waiting = [ingress, ...[...(this.#roots.get(holder)?.values() ?? [])].flat()];
    for (let ref = waiting.pop(); ref !== undefined; ref = waiting.pop()) {
      const entry = seen.has(ref) ? undefined : this.#entries.get(ref);
      if (entry === undefined) continue;
      seen.add(ref);
      if (entry.object !== undefined) found.push(entry.object);
      for (const backend of entry.backends.values()) found.push(backend);
      for (const need of entry.needs) waiting.push(need);
    }
    return found;
  }

  /** Removes a holder; it is not called back. */
  close(holder: Holder): void {
    const roots = this.#roots.get(holder);
    if (roots === undefined) return;
    this.#roots.delete(holder);
    this.#release(ingress, holder, false);
    for (const refs of roots.values()) for (const ref of refs) this.#release(ref, holder, false);
  }

  follow(view: View, { refs, slots }: Dirty): void {
    for (const ref of refs) this.#refresh(view, ref);
    for (const holder of this.#roots.keys())
      for (const slotId of slots.get(holder.nodeId) ?? []) this.#refreshRoots(view, holder, slotId);
  }

  /** Compares the whole graph with the state. */
  resync(view: View): void {
    for (const { meta } of view.list("services")) this.#refreshGroups(view, meta?.id ?? "");
    for (const serviceId of this.#groups.keys()) this.#refreshGroups(view, serviceId);
    for (const [ref, entry] of this.#entries) {
      this.#refresh(view, ref);
      for (const backend of new Set([...entry.backends.keys(), ...read(view, ref).needs.filter(isBackend)]))
        this.#refreshBackend(view, backend);
    }
    for (const [holder, roots] of this.#roots) {
      const found = rootsOf(view, holder.nodeId).filter((ref) => ref !== ingress);
      for (const slotId of new Set([...roots.keys(), ...found.map(slotOf)])) this.#refreshRoots(view, holder, slotId);
    }
  }

  #refreshRoots(view: View, holder: Holder, slotId: string, announced = true): void {
    const roots = this.#roots.get(holder);
    const before = roots?.get(slotId) ?? [];
    const after = leasesOn(view.get("slots", slotId), holder.nodeId);
    if (after.length === 0) roots?.delete(slotId);
    else roots?.set(slotId, after);
    for (const ref of after) if (!before.includes(ref)) this.#hold(view, ref, holder, announced);
    for (const ref of before) if (!after.includes(ref)) this.#release(ref, holder, true);
  }

  #hold(view: View, ref: ObjectRef, holder: Holder, announced: boolean): void {
    const entry = this.#entries.get(ref) ?? this.#make(view, ref);
    const ways = entry.holders.get(holder) ?? 0;
    entry.holders.set(holder, ways + 1);
    if (ways > 0) return;
    if (announced && entry.object !== undefined) holder.set(entry.object, true);
    for (const need of entry.needs) this.#hold(view, need, holder, announced);
    if (announced) for (const backend of entry.backends.values()) holder.set(backend, true);
  }

  #release(ref: ObjectRef, holder: Holder, announced: boolean): void {
    const entry = this.#entries.get(ref);
    const ways = entry?.holders.get(holder) ?? 0;
    if (entry === undefined || ways === 0) return;
    if (ways > 1) {
      entry.holders.set(holder, ways - 1);
      return;
    }
    entry.holders.delete(holder);
    if (entry.holders.size === 0) this.#entries.delete(ref);
    if (announced) {
      if (entry.object !== undefined) holder.removed(entry.object);
      for (const backend of entry.backends.values()) holder.removed(backend);
    }
    for (const need of entry.needs) this.#release(need, holder, announced);
  }

  #make(view: View, ref: ObjectRef): Entry {
    const { kind, key } = parseRef(ref);
    const { object, needs } = read(view, ref);
    const entry: Entry = {
      ref,
      kind,
      key,
      object: object === undefined ? undefined : new AssignedObject(kind as AssignedKind, key, object),
      needs: new Set(needs.filter((need) => !isBackend(need))),
      backends: new Map(),
      holders: new Map(),
    };
    for (const need of needs.filter(isBackend)) {
      const backend = backendAt(view, need);
      if (backend !== undefined) entry.backends.set(need, backend);
    }
    this.#entries.set(ref, entry);
    return entry;
  }

  #refresh(view: View, ref: ObjectRef): void {
    const { kind, key } = parseRef(ref);
    if (kind === "backend") {
      this.#refreshBackend(view, ref);
      return;
    }
    if (kind === "endpoint") this.#refreshGroups(view, key);
    const entry = this.#entries.get(ref);
    // A group's needs are changed one service at a time: #refreshGroups.
    if (entry === undefined || isGroup(kind)) return;
    const { object, needs } = read(view, ref);
    const isOther = (object === undefined) !== (entry.object === undefined);
    this.#setObject(entry, object);
    this.#setNeeds(view, entry, new Set(needs.filter((need) => !isBackend(need))));
    // All backends of an endpoint come and go with it.
    if (isOther)
      for (const backend of new Set([...entry.backends.keys(), ...needs.filter(isBackend)]))
        this.#refreshBackend(view, backend);
  }

  #setObject(entry: Entry, bytes: Uint8Array | undefined): void {
    const before = entry.object;
    if (bytes === undefined) {
      entry.object = undefined;
      if (before !== undefined) for (const holder of entry.holders.keys()) holder.removed(before);
      return;
    }
    if (before?.equals(bytes) === true) return;
    const object = new AssignedObject(entry.kind as AssignedKind, entry.key, bytes);
    entry.object = object;
    for (const holder of entry.holders.keys()) holder.set(object, before === undefined);
  }

  #setNeeds(view: View, entry: Entry, needs: ReadonlySet<ObjectRef>): void {
    const before = entry.needs;
    entry.needs = needs;
    for (const need of needs)
      if (!before.has(need)) for (const holder of entry.holders.keys()) this.#hold(view, need, holder, true);
    for (const need of before)
      if (!needs.has(need)) for (const holder of entry.holders.keys()) this.#release(need, holder, true);
  }

  /** Puts a service's endpoint into the groups that need it now, and takes it out of the others. */
  #refreshGroups(view: View, serviceId: string): void {
    const ref: ObjectRef = `endpoint/${serviceId}`;
    const before = this.#groups.get(serviceId) ?? [];
    const after = groupsOf(view, serviceId);
    if (after.length === 0) this.#groups.delete(serviceId);
    else this.#groups.set(serviceId, after);
    for (const group of new Set([...before, ...after])) {
      const entry = this.#entries.get(group);
      if (entry === undefined || entry.needs.has(ref) === after.includes(group)) continue;
      const needs = new Set(entry.needs);
      if (!needs.delete(ref)) needs.add(ref);
      this.#setNeeds(view, entry, needs);
    }
  }

  #refreshBackend(view: View, ref: ObjectRef): void {
    const { key } = parseRef(ref);
    const endpoint = this.#entries.get(`endpoint/${serviceOfSlot(key)}`);
    if (endpoint === undefined) return;
    const before = endpoint.backends.get(ref);
    const after = endpoint.object === undefined ? undefined : backendAt(view, ref);
    if (after === undefined) {
      endpoint.backends.delete(ref);
      if (before !== undefined) for (const holder of endpoint.holders.keys()) holder.removed(before);
      return;
    }
    if (before?.equals(after.object) === true) return;
    endpoint.backends.set(ref, after);
    for (const holder of endpoint.holders.keys()) holder.set(after, before === undefined);
  }
}

function backendAt(view: View, ref: ObjectRef): AssignedObject | undefined {
  const { object } = read(view, ref);
  return object === undefined ? undefined : new AssignedObject("backend", parseRef(ref).key, object);
}

function isBackend(ref: ObjectRef): boolean {
  return ref.startsWith("backend/");
}

/** The slot of a lease's reference. */
function slotOf(ref: ObjectRef): string {
  return ref.slice(ref.indexOf("/") + 1, ref.lastIndexOf("/"));
}
