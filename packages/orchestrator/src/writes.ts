/**
 * What one pass over one service wants to write. It holds drafts, so that several decisions on one object become one
 * write.
 */
import { ObjectKind, type Epoch, type Service, type Slot, type Task, type Version } from "@warren/api";
import { idOf, slotName } from "@warren/api/model";
import { assert } from "@warren/std";
import type { Moment } from "./reading.ts";
import type { EventInput, Transaction } from "@warren/store";

type Drafted = "slots" | "tasks";

export class Plan {
  readonly at: Moment;
  /** Wall time, ms. */
  readonly now: number;
  /** Of the command that it becomes: names each lease that it makes. */
  readonly epoch: Epoch;
  readonly #created = { slots: new Map<string, Slot>(), tasks: new Map<string, Task>() };
  readonly #changed = { slots: new Map<string, Slot>(), tasks: new Map<string, Task>() };
  readonly #deleted = { slots: new Set<string>(), tasks: new Set<string>(), versions: new Set<string>() };
  readonly #events: EventInput[] = [];
  #service: Service | undefined;
  #forgotten: string | undefined;
  /** When the answer may change though nothing is written, ms from now. */
  wakeInMs: number | undefined;
  /** There is more to do than one transaction should hold. */
  again = false;

  constructor(at: Moment, epoch: Epoch) {
    this.at = at;
    this.now = at.now;
    this.epoch = epoch;
  }

  /** Objects that it writes. */
  get size(): number {
    const [created, changed, deleted] = [this.#created, this.#changed, this.#deleted];
    const slots = created.slots.size + changed.slots.size + deleted.slots.size;
    const tasks = created.tasks.size + changed.tasks.size + deleted.tasks.size;
    const service = (this.#service === undefined ? 0 : 1) + (this.#forgotten === undefined ? 0 : 1);
    return slots + tasks + deleted.versions.size + this.#events.length + service;
  }

  createSlot(slot: Slot): void {
    this.#created.slots.set(idOf(slot), slot);
  }

  /** Replaces what is stored, or what this pass makes. */
  putSlot(slot: Slot): void {
    this.#put("slots", slot);
  }

  deleteSlot(slot: Slot): void {
    this.#delete("slots", slot);
  }

  isSlotDeleted(slot: Slot): boolean {
    return this.#deleted.slots.has(idOf(slot));
  }

  /** Nothing is left of a service that was deleted. */
  forgetService(id: string): void {
    this.#forgotten = id;
  }

  createTask(task: Task): void {
    assert(!this.#deleted.tasks.has(idOf(task)), "a task's id is made once");
    this.#created.tasks.set(idOf(task), task);
  }

  putTask(task: Task): void {
    this.#put("tasks", task);
  }

  deleteTask(task: Task): void {
    this.#delete("tasks", task);
  }

  isDeleted(task: Task): boolean {
    return this.#deleted.tasks.has(idOf(task));
  }

  deleteVersion(version: Version): void {
    this.#deleted.versions.add(idOf(version));
  }

  /** The service as it will be. */
  drafted(service: Service): Service {
    return this.#service ?? service;
  }

  putService(changes: Partial<Service>, service: Service): void {
    this.#service = { ...this.drafted(service), ...changes };
  }

  emit(kind: ObjectKind, objectId: string, objectName: string, action: string, message: string): void {
    this.#events.push({ kind, objectId, objectName, action, message });
  }

  emitForTask(task: Task, action: string, message: string): void {
    this.emit(ObjectKind.TASK, idOf(task), slotName(task), action, message);
  }

  emitForService(service: Service, action: string, message: string): void {
    this.emit(ObjectKind.SERVICE, idOf(service), service.spec?.name ?? "", action, message);
  }

  wakeIn(ms: number): void {
    this.wakeInMs = Math.min(this.wakeInMs ?? ms, ms);
  }

  writeTo(tx: Transaction): void {
    for (const table of ["versions", "tasks", "slots"] as const)
      for (const id of this.#deleted[table]) tx.delete(table, id);
    for (const slot of this.#changed.slots.values()) tx.update("slots", slot);
    for (const slot of this.#created.slots.values()) tx.create("slots", slot);
    for (const task of this.#changed.tasks.values()) tx.update("tasks", task);
    for (const task of this.#created.tasks.values()) tx.create("tasks", task);
    if (this.#forgotten !== undefined) tx.delete("deletedServices", this.#forgotten);
    if (this.#service !== undefined) tx.update("services", this.#service);
    for (const event of this.#events) tx.emit(event);
  }

  #put(table: Drafted, object: Slot | Task): void {
    const id = idOf(object);
    assert(!this.#deleted[table].has(id), "what this pass deletes is not changed by it");
    const made = this.#created[table] as Map<string, Slot | Task>;
    const set = made.has(id) ? made : (this.#changed[table] as Map<string, Slot | Task>);
    set.set(id, object);
  }

  #delete(table: Drafted, object: Slot | Task): void {
    const id = idOf(object);
    this.#changed[table].delete(id);
    if (!this.#created[table].delete(id)) this.#deleted[table].add(id);
  }
}
