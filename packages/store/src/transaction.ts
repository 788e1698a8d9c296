/**
 * Transactions, and how several become one command.
 *
 * T1: a transaction reads the writes of those before it in the same command, so that the transactions of a manager are
 *     serial. T2: a transaction that writes an object that an earlier one of the same command wrote is deferred to the next
 *     command, where the object's version shows whether the transaction had read the earlier write.
 */
import { newId, type Random } from "@warren/std";
import type { Epoch, Event, ObjectKind } from "@warren/api";

import type { Write } from "./command.ts";
import { StoreError, type ConflictKind } from "./errors.ts";
import { frozen } from "./frozen.ts";
import { heldBack } from "./level.ts";
import type { State } from "./state.ts";
import { idOf, nameOf, type StoredObject, type TableName, type Tables } from "./tables.ts";
import { StateView, type View } from "./view.ts";

/** The subject of an event, and what happened to it. */
export interface EventInput {
  readonly kind: ObjectKind;
  readonly objectId: string;
  readonly objectName: string;
  /** A word for programs. */
  readonly action: string;
  /** One line for people. */
  readonly message: string;
}

/**
 * Its reads include its own writes. Written objects are drafts: `meta.version` and the times are set when the command is
 * applied. It must not be used after `work` has returned.
 */
export interface Transaction extends View {
  /**
   * Unique to this transaction, for naming what it does to a slot; within a term later transactions have larger ones.
   *
   * @throws StoreError `STORE_NOT_LEADER` if this manager has begun no term
   */
  readonly epoch: Epoch;
  /** The leader's clock, ms: `createdAt` and `updatedAt` of its writes. */
  readonly now: number;
  /** Assigns an id if there is none; returns it. @throws StoreError `STORE_NAME_TAKEN`, `STORE_CONFLICT`, `STORE_LEVEL_HELD_BACK` */
  create<T extends TableName>(table: T, object: Tables[T]): string;
  /**
   * Replaces the object by one that was derived from it.
   *
   * @throws StoreError `STORE_CONFLICT` if the object was changed since it was read, `STORE_NAME_TAKEN`,
   *   `STORE_LEVEL_HELD_BACK`
   */
  update<T extends TableName>(table: T, object: Tables[T]): void;
  /** @throws StoreError `STORE_CONFLICT` if the object does not exist */
  delete(table: TableName, id: string): void;
  /** Records an event, if the transaction is applied. */
  emit(event: EventInput): void;
}

/** The writes of one command, one for each object, in the order in which the objects were first written. */
export class WriteSet {
  /** Undefined where an object was created and deleted again. */
  readonly #writes: (Write | undefined)[] = [];
  /** Table → id → position in `#writes`. */
  readonly #positions = new Map<TableName, Map<string, number>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  has(table: TableName, id: string): boolean {
    return this.#positions.get(table)?.has(id) === true;
  }

  values(): Iterable<Write> {
    return this.#writes.filter((write) => write !== undefined);
  }

  add(write: Write): void {
    const { table, kind, object } = write;
    let positions = this.#positions.get(table);
    if (positions === undefined) this.#positions.set(table, (positions = new Map<string, number>()));
    const id = idOf(object);
    const at = positions.get(id);
    const before = at === undefined ? undefined : this.#writes[at];
    if (at === undefined || before === undefined) {
      positions.set(id, this.#writes.push(write) - 1);
      this.#size += 1;
    } else if (before.kind === "create" && kind === "delete") {
      positions.delete(id);
      this.#writes[at] = undefined;
      this.#size -= 1;
    } else if (kind === "delete") {
      this.#writes[at] = { ...write, expectedVersion: before.expectedVersion };
    } else {
      this.#writes[at] = { ...before, object };
    }
  }
}

/** Values that the transactions of one command share. */
export interface TransactionContext {
  readonly random: Random;
  readonly now: number;
  /** The active level. */
  readonly level: number;
  /** The epoch, or the reason why nothing can be written. */
  readonly epoch: Epoch | StoreError;
}

export class StoreTransaction extends StateView implements Transaction {
  readonly #context: TransactionContext;
  readonly #earlier: WriteSet;
  readonly #deleted = new Set<string>();
  #open = true;
  /** In the order of the calls. */
  readonly writes: Write[] = [];
  /** T2: set even if `work` caught the error. */
  deferred = false;
  /** Why it can't be written; set even if `work` caught the error. */
  refusal: StoreError | undefined;

  /** Runs on `state`, which has the writes of the `earlier` transactions of the same command. */
  constructor(state: State, earlier: WriteSet, context: TransactionContext) {
    super(state.copy());
    this.#earlier = earlier;
    this.#context = context;
  }

  get epoch(): Epoch {
    const { epoch } = this.#context;
    return epoch instanceof StoreError ? this.#refuse(epoch) : epoch;
  }

  get now(): number {
    return this.#context.now;
  }

  /** Ends the transaction, and returns the state with its writes. */
  close(): State {
    this.#open = false;
    return this.state;
  }

  create<T extends TableName>(table: T, object: Tables[T]): string {
    this.#mustBeWritable();
    const id = idOf(object) === "" ? newId(this.#context.random) : idOf(object);
    if (this.#earlier.has(table, id)) this.#defer();
    const draft = this.#draft(table, object, id, 0);
    if (this.state.table(table).get(id) !== undefined || this.#deleted.has(`${table}/${id}`))
      throw conflict(table, id, "id-taken");
    this.#mustBeUnique(table, draft);
    this.#write({ kind: "create", table, object: draft, expectedVersion: 0 });
    return id;
  }

  update<T extends TableName>(table: T, object: Tables[T]): void {
    this.#mustBeWritable();
    const id = idOf(object);
    const version = this.#mustMatch(table, id, object.meta?.version ?? 0);
    const draft = this.#draft(table, object, id, version);
    this.#mustBeUnique(table, draft);
    this.#write({ kind: "update", table, object: draft, expectedVersion: version });
  }

  delete(table: TableName, id: string): void {
    this.#mustBeWritable();
    const version = this.#mustMatch(table, id, undefined);
    const object = this.state.table(table).get(id) as StoredObject;
    this.#deleted.add(`${table}/${id}`);
    this.writes.push({ kind: "delete", table, object, expectedVersion: version });
    this.state.own(this.state.schema.table(table)).remove(id);
  }

  emit({ kind, objectId, objectName, action, message }: EventInput): void {
    const event: Event = { meta: undefined, at: undefined, kind, objectId, objectName, action, message };
    this.create("events", event);
  }

  #write(write: Write): void {
    this.writes.push(write);
    this.state.own(this.state.schema.table(write.table)).put(write.object);
  }

  #draft(table: TableName, object: StoredObject, id: string, version: number): StoredObject {
    const { codec, needs } = this.state.schema.table(table);
    const copy = codec.fromPartial(object);
    const needed = needs(copy);
    if (needed > this.#context.level) this.#refuse(heldBack(this, needed, this.#context.level));
    const { createdAt, updatedAt } = copy.meta ?? { createdAt: undefined, updatedAt: undefined };
    copy.meta = { ...copy.meta, id, version, createdAt, updatedAt };
    return frozen(copy);
  }

  #mustMatch(table: TableName, id: string, version: number | undefined): number {
    if (this.#earlier.has(table, id)) this.#defer();
    const current = this.state.table(table).get(id);
    if (current === undefined) throw conflict(table, id, "missing");
    const found = current.meta?.version ?? 0;
    if (version !== undefined && version !== found) throw conflict(table, id, "stale");
    return found;
  }

  #mustBeUnique(table: TableName, object: StoredObject): void {
    const definition = this.state.schema.table(table);
    if (!definition.uniqueNames) return;
    const name = nameOf(definition, object);
    const holder = this.state.table(table).find("name", name)[0];
    if (holder === undefined || idOf(holder) === idOf(object)) return;
    throw new StoreError(
      { code: "STORE_NAME_TAKEN", table, name, id: idOf(holder) },
      `the name "${name}" is taken: ${idOf(holder)} of the ${table} has it; choose another name, or delete that object first`,
    );
  }

  #refuse(error: StoreError): never {
    this.refusal ??= error;
    throw error;
  }

  #defer(): never {
    this.deferred = true;
    throw new Error("this transaction is run again in the next command; its work must not catch this");
  }

  #mustBeWritable(): void {
    if (!this.#open) throw new Error("assertion failed: a transaction was used after its work had returned");
    void this.epoch;
  }
}

export function conflict(table: TableName | undefined, id: string, kind: ConflictKind, attempts = 1): StoreError {
  const what = {
    stale: "was changed since it was read; read it again, and repeat the change",
    missing: "is gone",
    "id-taken": "exists already; create it with another id",
    "name-taken": "has a name that another object took first; choose another name",
    overtaken: "was overtaken by another command; read again, and repeat the change",
  }[kind];
  const tries = attempts > 1 ? ` (after ${attempts} attempts)` : "";
  const subject = table === undefined ? "the transaction" : `${id} of the ${table}`;
  return new StoreError({ code: "STORE_CONFLICT", table, id, kind, attempts }, `${subject} ${what}${tries}`);
}
