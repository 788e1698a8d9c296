/**
 * A key-value store with a write-ahead journal: a small batch is durable in the journal and readable in a memtable, which
 * is flushed to the store when its half of the journal is full; a large batch goes to the store with the memtable.
 *
 * J1: what the store does not hold durably is in the journal. A flush is one synced batch with the number of the last
 * record; only then is that half of the journal written again. J2: records bear consecutive numbers, so a damaged or lost
 * one is distinguished from a write that never ended, which has nothing after it. J3: what the store and the journal hold at
 * open may have been written by a process that died before its sync was done; a sync of our own comes before the first
 * record is written over.
 */
import { serially } from "@warren/std";

import type { KeyValue, KeyValueOp } from "./disk.ts";
import { recordBytes, type Journal, type OpenedJournal } from "./journal.ts";
import { asBuffer } from "./record.ts";
import { journalCorrupt } from "./refusals.ts";

/** The number of the last record that the store holds. */
const numberKey = Buffer.from("j");

/** The number of the last record that a store holds; `undefined` if it has no journal. */
export function recordHeld(store: KeyValue): number | undefined {
  const known = store.get(numberKey);
  return known === undefined ? undefined : asBuffer(known).readDoubleLE();
}

/** Whether a store has a journal: without it, it may lack what was durable. */
export function hasJournal(store: KeyValue): boolean {
  return recordHeld(store) !== undefined;
}

/** Brings the store up to its journal. @throws RaftError `RAFT_JOURNAL_CORRUPT` */
export async function openJournaled(store: KeyValue, { journal, records }: OpenedJournal): Promise<KeyValue> {
  try {
    const held = recordHeld(store) ?? 0;
    let number = held;
    const missed = new Map<string, KeyValueOp>();
    for (const record of records) {
      if (record.number <= held) continue;
      if (record.number !== ++number) throw journalCorrupt(`record ${number} is damaged or missing`); // J2
      for (const op of record.ops) missed.set(text(op.key), op);
    }
    await store.batch([...missed.values(), numbered(number)], { sync: true }); // J3
    return new JournaledKeyValue(store, journal, number);
  } catch (error) {
    await journal.close();
    throw error;
  }
}

class JournaledKeyValue implements KeyValue {
  private readonly store: KeyValue;
  private readonly journal: Journal;
  /** Of the last record. */
  private number: number;
  /** What the current half of the journal holds: of each key, the last operation. */
  private memtable = new Map<string, KeyValueOp>();
  /** The memtable of the other half, while it is flushed. */
  private flushing: ReadonlyMap<string, KeyValueOp> = new Map();
  /** Operations without a sync: they are part of the next record, so that no batch overtakes another. */
  private unrecorded: KeyValueOp[] = [];
  private flushed: Promise<void> = Promise.resolve();
  private failure: { readonly cause: unknown } | undefined;
  private readonly oneAtATime = serially();

  constructor(store: KeyValue, journal: Journal, number: number) {
    this.store = store;
    this.journal = journal;
    this.number = number;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const name = text(key);
    const op =
      this.unrecorded.findLast((one) => text(one.key) === name) ?? this.memtable.get(name) ?? this.flushing.get(name);
    if (op === undefined) return this.store.get(key);
    return op.type === "put" ? op.value : undefined;
  }

  batch(ops: readonly KeyValueOp[], { sync }: { readonly sync: boolean }): Promise<void> {
    return this.oneAtATime(() => this.guard(() => (sync ? this.write(ops) : this.hold(ops))));
  }

  async clear(from: Uint8Array, to: Uint8Array): Promise<void> {
    // Behind what was written before it, which may say that these pairs are not needed.
    await this.settled();
    await this.store.clear(from, to);
  }

  async *iterate(from: Uint8Array, to: Uint8Array): AsyncGenerator<readonly [Uint8Array, Uint8Array], void, void> {
    await this.settled();
    yield* this.store.iterate(from, to);
  }

  async close(): Promise<void> {
    try {
      // After a failure nothing more is written: the journal has it.
      if (this.failure === undefined) await this.settled();
    } finally {
      await this.flushed;
      await this.journal.close();
      await this.store.close();
    }
  }

  /** Resolves when the store holds all. */
  private settled(): Promise<void> {
    return this.oneAtATime(() => this.guard(() => this.through(this.unrecorded)));
  }

  private async hold(ops: readonly KeyValueOp[]): Promise<void> {
    for (const op of ops) this.unrecorded.push(op);
  }

  private async write(ops: readonly KeyValueOp[]): Promise<void> {
    const record = this.unrecorded.length === 0 ? ops : [...this.unrecorded, ...ops];
    const bytes = recordBytes(record);
    if (bytes > this.journal.largestRecordBytes) return this.through(record);
    if (!this.journal.fits(bytes)) await this.rotate();
    await this.journal.append(this.number + 1, record);
    this.number++;
    this.unrecorded = [];
    for (const op of record) this.memtable.set(text(op.key), op);
  }

  /** Writes to the store, together with the memtable. */
  private async through(ops: readonly KeyValueOp[]): Promise<void> {
    await this.flushed;
    if (this.memtable.size + ops.length === 0) return;
    await this.store.batch([...this.memtable.values(), ...ops, numbered(this.number)], { sync: true });
    this.unrecorded = [];
    this.memtable = new Map();
    this.journal.restart(); // J1
  }

  /** Changes to the other half once that is flushed; the memtable is flushed meanwhile. */
  private async rotate(): Promise<void> {
    await this.flushed;
    if (this.failure !== undefined) throw this.failure.cause;
    this.flushing = this.memtable;
    this.flushed = this.flush();
    this.memtable = new Map();
    this.journal.rotate(); // J1
  }

  private async flush(): Promise<void> {
    try {
      await this.store.batch([...this.flushing.values(), numbered(this.number)], { sync: true });
      this.flushing = new Map();
    } catch (cause) {
      this.failure ??= { cause };
    }
  }

  /** After one failure nothing is known about the disk. */
  private async guard(work: () => Promise<void>): Promise<void> {
    if (this.failure !== undefined) throw this.failure.cause;
    try {
      await work();
    } catch (cause) {
      this.failure ??= { cause };
      throw cause;
    }
  }
}

function numbered(number: number): KeyValueOp {
  const value = Buffer.alloc(8);
  value.writeDoubleLE(number);
  return { type: "put", key: numberKey, value };
}

function text(key: Uint8Array): string {
  return asBuffer(key).toString("latin1");
}
