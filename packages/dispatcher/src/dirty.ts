/** Which assigned objects, and which nodes' leases, a change of the state may concern. Pure. */
import { NodeStatus_State, type Node, type Slot } from "@warren/api";
import { idOf, isRunning, leaseKey } from "@warren/api/model";
import type { StoreChange, View } from "@warren/store";

import type { ObjectRef } from "./objects.ts";

/** Objects and slots to be read again. */
export interface Dirty {
  readonly refs: Set<ObjectRef>;
  /** Ids of slots that have or had a lease on a node, by node. */
  readonly slots: Map<string, Set<string>>;
}

export function dirtyOf(view: View, changes: readonly StoreChange[]): Dirty {
  const dirty: Dirty = { refs: new Set(), slots: new Map() };
  for (const change of changes) mark(view, change, dirty);
  return dirty;
}

function mark(view: View, change: StoreChange, dirty: Dirty): void {
  const { refs } = dirty;
  switch (change.table) {
    case "slots":
      markSlot(dirty, change.object);
      if (change.before !== undefined) markSlot(dirty, change.before);
      if (change.kind !== "update") refs.add(`service/${change.object.serviceId}`);
      return;
    case "tasks":
      for (const task of [change.object, change.before])
        if (task !== undefined && isRunning(task)) refs.add(`backend/${leaseKey(task.slotId, task.epoch)}`);
      return;
    case "services":
      refs.add(`service/${idOf(change.object)}`).add(`endpoint/${idOf(change.object)}`);
      return;
    case "versions":
      refs.add(`version/${idOf(change.object)}`);
      // A version's networks never change.
      if (change.kind !== "update") refs.add(`endpoint/${change.object.serviceId}`);
      return;
    case "nodes":
      if (isDown(change.object) === isDown(change.before)) return;
      for (const slot of view.find("slots", "node", idOf(change.object)))
        for (const { epoch } of slot.leases) refs.add(`backend/${leaseKey(idOf(slot), epoch)}`);
      return;
    case "registries":
      for (const credential of [change.object, change.before])
        if (credential !== undefined) refs.add(`registry/${credential.registry}`);
      return;
    case "clusters":
    case "managers":
    case "removedNodes":
    case "deletedServices":
    case "networks":
    case "events":
      return;
  }
}

function markSlot({ refs, slots }: Dirty, slot: Slot): void {
  const id = idOf(slot);
  for (const { epoch, nodeId } of slot.leases) {
    refs.add(`lease/${leaseKey(id, epoch)}`).add(`backend/${leaseKey(id, epoch)}`);
    if (nodeId === "") continue;
    const ids = slots.get(nodeId);
    if (ids === undefined) slots.set(nodeId, new Set([id]));
    else ids.add(id);
  }
}

function isDown(node: Node | undefined): boolean {
  return node?.status?.state === NodeStatus_State.DOWN;
}
