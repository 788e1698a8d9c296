/**
 * What one pass over a service wants to write. It holds drafts, so that several decisions on one task become one write.
 */
import { ObjectKind, TaskState, type Service, type Task } from "@warren/api";
import { assert } from "@warren/std";
import type { EventInput, Transaction } from "@warren/store";
import { hasEnded, idOf, slotName } from "./task.ts";

export class Plan {
  readonly now: number;
  readonly #changed = new Map<string, Task>();
  readonly #deleted = new Set<string>();
  readonly #created: Task[] = [];
  readonly #events: EventInput[] = [];
  #service: { readonly kind: "put" | "delete"; readonly service: Service } | undefined;
  /** When the answer may change though nothing is written, ms from now. */
  wakeInMs: number | undefined;
  /** There is more to do than one transaction should hold. */
  again = false;

  constructor(now: number) {
    this.now = now;
  }

  /** Objects that it writes. */
  get size(): number {
    return (
      this.#changed.size +
      this.#deleted.size +
      this.#created.length +
      this.#events.length +
      (this.#service === undefined ? 0 : 1)
    );
  }

  /** The task as it will be. */
  drafted(task: Task): Task {
    return this.#changed.get(idOf(task)) ?? task;
  }

  isDeleted(task: Task): boolean {
    return this.#deleted.has(idOf(task));
  }

  create(task: Task): void {
    this.#created.push(task);
  }

  change(task: Task, changes: Partial<Task>): void {
    assert(!this.isDeleted(task), "a task that this pass deletes is not changed by it");
    this.#changed.set(idOf(task), { ...this.drafted(task), ...changes });
  }

  delete(task: Task): void {
    this.#changed.delete(idOf(task));
    this.#deleted.add(idOf(task));
  }

  /** Lets the task go as far as `desired`. Desired states only grow. */
  aim(task: Task, desired: TaskState): void {
    if (this.drafted(task).desiredState < desired) this.change(task, { desiredState: desired });
  }

  /** Ends the task: its node does it, or nobody has to. */
  retire(task: Task, desired: typeof TaskState.SHUTDOWN | typeof TaskState.REMOVE): void {
    const absent = task.nodeId === "" || hasEnded(task);
    if (absent && desired === TaskState.REMOVE) return this.delete(task);
    this.aim(task, desired);
    if (absent && !hasEnded(task)) this.#say(task, TaskState.SHUTDOWN, "stopped before it had a node");
  }

  /** What it waited for is there: it may be given a node. */
  offer(task: Task): void {
    this.#say(task, TaskState.PENDING, "waits for a node");
  }

  putService(changes: Partial<Service>, service: Service): void {
    const before = this.#service?.kind === "put" ? this.#service.service : service;
    this.#service = { kind: "put", service: { ...before, ...changes } };
  }

  deleteService(service: Service): void {
    this.#service = { kind: "delete", service };
  }

  tell(kind: ObjectKind, objectId: string, objectName: string, action: string, message: string): void {
    this.#events.push({ kind, objectId, objectName, action, message });
  }

  tellOfTask(task: Task, action: string, message: string): void {
    this.tell(ObjectKind.TASK, idOf(task), slotName(task), action, message);
  }

  tellOfService(service: Service, action: string, message: string): void {
    this.tell(ObjectKind.SERVICE, idOf(service), service.spec?.name ?? "", action, message);
  }

  wakeIn(ms: number): void {
    this.wakeInMs = Math.min(this.wakeInMs ?? ms, ms);
  }

  writeTo(tx: Transaction): void {
    for (const id of this.#deleted) tx.delete("tasks", id);
    for (const task of this.#changed.values()) tx.update("tasks", task);
    for (const task of this.#created) tx.create("tasks", task);
    if (this.#service?.kind === "put") tx.update("services", this.#service.service);
    if (this.#service?.kind === "delete") tx.delete("services", idOf(this.#service.service));
    for (const event of this.#events) tx.emit(event);
  }

  #say(task: Task, state: TaskState, message: string): void {
    const { code = "", container } = task.status ?? {};
    this.change(task, {
      status: { state, at: new Date(this.now), message, code, container, pending: undefined },
    });
  }
}
