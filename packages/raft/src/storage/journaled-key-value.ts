/**
 * A key-value store behind a journal: small batches are durable in the journal and get to the store gathered, many at
 * once; a large one takes with it what waits and goes to the store itself.
 *
 * J1: what the store does not hold durably is in the journal. The store takes what was gathered with a sync, and with it
 * the number of the last record; only then is that part of the journal written again. J2: records bear consecutive
 * numbers, so a damaged or lost one is told from a write that never ended, which has nothing after it.
 */
import { serially } from "@warren/std";

import type { KeyValue, KeyValueOp } from "./disk.ts";
import { largestRecordBytes, recordBytes, type Journal, type OpenedJournal } from "./journal.ts";
import { asBuffer } from "./record.ts";
import { journalCorrupt } from "./refusals.ts";

/** The number of the last record that the store holds. */
const numberKey = Buffer.from("j");

/** Whether a store has a journal: without it, it may lack what was durable. */
export function hasJournal(store: KeyValue): boolean {
  return store.get(numberKey) !== undefined;
}

/** Brings the store up to its journal. @throws RaftError `RAFT_JOURNAL_CORRUPT` */
export async function openJournaled(store: KeyValue, { journal, records }: OpenedJournal): Promise<KeyValue> {
  try {
    const known = store.get(numberKey);
    const held = known === undefined ? 0 : asBuffer(known).readDoubleLE();
    let number = held;
    const missed = new Map<string, KeyValueOp>();
    for (const record of records) {
      if (record.number <= held) continue;
      if (record.number !== ++number) throw journalCorrupt(`record ${number} is damaged or missing`); // J2
      for (const op of record.ops) missed.set(text(op.key), op);
    }
    if (known === undefined || number > held) {
      await store.batch([...missed.values(), numbered(number)], { sync: true });
    }
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
  /** What is in the half of the journal that is written: of each key, the last. */
  private waiting = new Map<string, KeyValueOp>();
  /** What is on its way to the store from the other half. */
  private moving: ReadonlyMap<string, KeyValueOp> = new Map();
  /** What nobody wanted synced: it goes into the next record, so that none overtakes another. */
  private unrecorded: KeyValueOp[] = [];
  private moved: Promise<void> = Promise.resolve();
  private failure: { readonly cause: unknown } | undefined;
  private readonly inTurn = serially();

  constructor(store: KeyValue, journal: Journal, number: number) {
    this.store = store;
    this.journal = journal;
    this.number = number;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const name = text(key);
    const op =
      this.unrecorded.findLast((one) => text(one.key) === name) ?? this.waiting.get(name) ?? this.moving.get(name);
    if (op === undefined) return this.store.get(key);
    return op.type === "put" ? op.value : undefined;
  }

  batch(ops: readonly KeyValueOp[], { sync }: { readonly sync: boolean }): Promise<void> {
    return this.inTurn(() => this.guard(() => (sync ? this.write(ops) : this.gather(ops))));
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
      await this.moved;
      await this.journal.close();
      await this.store.close();
    }
  }

  /** Resolves when the store holds all. */
  private settled(): Promise<void> {
    return this.inTurn(() => this.guard(() => this.through(this.unrecorded)));
  }

  private async gather(ops: readonly KeyValueOp[]): Promise<void> {
    for (const op of ops) this.unrecorded.push(op);
  }

  private async write(ops: readonly KeyValueOp[]): Promise<void> {
    const record = this.unrecorded.length === 0 ? ops : [...this.unrecorded, ...ops];
    const bytes = recordBytes(record);
    if (bytes > largestRecordBytes) return this.through(record);
    if (!this.journal.fits(bytes)) await this.turn();
    await this.journal.append(this.number + 1, record);
    this.number++;
    this.unrecorded = [];
    for (const op of record) this.waiting.set(text(op.key), op);
  }

  /** Writes to the store, and with it what waits. */
  private async through(ops: readonly KeyValueOp[]): Promise<void> {
    await this.moved;
    if (this.waiting.size + ops.length === 0) return;
    await this.store.batch([...this.waiting.values(), ...ops, numbered(this.number)], { sync: true });
    this.unrecorded = [];
    this.waiting = new Map();
    this.journal.restart(); // J1
  }

  /** Goes on in the other half, once the store has what is in it; what is in this one goes there meanwhile. */
  private async turn(): Promise<void> {
    await this.moved;
    if (this.failure !== undefined) throw this.failure.cause;
    this.moving = this.waiting;
    this.moved = this.move();
    this.waiting = new Map();
    this.journal.turn(); // J1
  }

  private async move(): Promise<void> {
    try {
      await this.store.batch([...this.moving.values(), numbered(this.number)], { sync: true });
      this.moving = new Map();
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
