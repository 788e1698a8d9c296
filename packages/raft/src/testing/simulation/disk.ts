/**
 * A machine's disk, which outlives its processes and has their faults.
 *
 * What was written is readable at once and durable after a sync. At power-off the unsynced suffix of the log's batches
 * goes (a batch as a whole, as LevelDB recovers), renames that no directory sync followed may go, and of unsynced bytes
 * in files any prefix stays. Beside what is readable it keeps the *truth*: what is durable, untouched by damage.
 */
import { crc32 } from "node:zlib";

import type { Random } from "@warren/std";

import type { HardState } from "../../core/index.ts";
import type { Disk, FileWriter, KeyValue, KeyValueOp } from "../../storage/index.ts";
import type { Process, Scheduler } from "./scheduler.ts";

interface Inode {
  data: Buffer;
  synced: Buffer;
}

/** What is under way; at a crash it may have happened or not. */
interface Pending {
  readonly apply: () => void;
}

export type Damage = "entry-flipped" | "entry-lost" | "state-flipped" | "tail-lost" | "snapshot-flipped";

/** The state record as it is durable. */
export interface DurableState extends HardState {
  readonly compacted: { readonly index: number; readonly term: number };
  readonly last: number;
}

export interface DiskObserver {
  /** A synced batch is durable. */
  durable(): void;
  /** A batch of a process's log was refused. */
  failed(process: Process): void;
}

const emptyState: DurableState = { term: 0, vote: 0, commit: 0, compacted: { index: 0, term: 0 }, last: 0 };
const empty = Buffer.alloc(0);

export class SimulatedDisk {
  /** Until when nothing completes. */
  stalledUntilMs = 0;
  /** The next write that comes fails. */
  failNextWrite = false;
  full = false;
  /** Milliseconds of a write, at least; a synced one takes longer. */
  writeMs = 0.2;
  syncMs = 2;
  private readonly scheduler: Scheduler;
  private readonly random: Random;
  private readonly observer: DiskObserver;
  private pairs = new Map<string, Uint8Array>();
  private truth = new Map<string, Uint8Array>();
  /** Batches that are readable and not durable. */
  private unsynced: (readonly KeyValueOp[])[] = [];
  private names = new Map<string, Inode>();
  private durableNames = new Map<string, Inode>();
  private directoryOps: (() => void)[] = [];
  private inFlight = new Set<Pending>();
  private state: { readonly bytes: Uint8Array; readonly value: DurableState } | undefined;

  constructor(scheduler: Scheduler, random: Random, observer: DiskObserver) {
    this.scheduler = scheduler;
    this.random = random;
    this.observer = observer;
  }

  /** The durable state record. */
  durableState(): DurableState {
    const bytes = this.truth.get("s");
    if (bytes === undefined) return emptyState;
    if (this.state?.bytes !== bytes) {
      const value = JSON.parse(Buffer.from(bytes).toString("utf8", 4)) as DurableState;
      this.state = { bytes, value };
    }
    return this.state.value;
  }

  /** Term of the durable entry at `index`, if it is within the durable log; what was compacted counts as held. */
  durableTerm(index: number): number | "compacted" | undefined {
    const { compacted, last } = this.durableState();
    if (index <= compacted.index) return "compacted";
    const record = index > last ? undefined : this.truth.get(entryKey(index));
    return record === undefined ? undefined : viewOf(record).getFloat64(5, true);
  }

  /** What the disk is to one process. */
  mount(process: Process): Disk {
    let broken = false;
    const write = (apply: () => void, finish: () => void, sync: boolean): Promise<void> =>
      this.work(process, (sync ? this.syncMs : this.writeMs) * (0.5 + this.random.next()), {
        apply: () => {
          apply();
          if (sync) finish();
        },
        // Before its sync is done, what was written may be lost with the power.
        crash: apply,
      });
    const present = (name: string): Inode => {
      const inode = this.names.get(name);
      if (inode === undefined) throw new Error(`no file ${name}`);
      return inode;
    };
    const range = (from: string, to: string): [Uint8Array, Uint8Array][] => {
      const keys = [...this.pairs.keys()].filter((key) => key >= from && key < to).sort();
      return keys.map((key) => [Buffer.from(key, "latin1"), this.pairs.get(key) as Uint8Array]);
    };
    const kv: KeyValue = {
      get: (key) => this.pairs.get(text(key)),
      batch: async (ops, { sync }) => {
        // After one failed write LevelDB refuses every other.
        if (broken) throw new Error("EIO: the log was not written before");
        try {
          await write(
            () => this.putAll(ops),
            () => this.syncAll(),
            sync,
          );
        } catch (error) {
          broken = true;
          this.observer.failed(process);
          throw error;
        }
        if (sync) this.observer.durable();
      },
      async clear(from, to) {
        const removed = range(text(from), text(to));
        const ops = removed.map(([key]): KeyValueOp => ({ type: "del", key }));
        if (ops.length > 0) await kv.batch(ops, { sync: false });
      },
      async *iterate(from, to) {
        yield* range(text(from), text(to));
      },
      close: async () => undefined,
    };
    return {
      openKeyValue: () => this.read(process, () => kv),
      list: () => this.read(process, () => [...this.names.keys()]),
      read: (name) => this.read(process, () => this.names.get(name)?.data),
      overwrite: (name, bytes, { sync }) => {
        const copy = Buffer.from(bytes);
        let inode: Inode;
        return write(
          () => {
            inode = this.names.get(name) ?? this.link(name, { data: empty, synced: empty });
            inode.data = copy;
          },
          () => {
            inode.synced = copy;
            this.syncDirectory();
          },
          sync,
        );
      },
      create: async (name) => {
        await write(
          () => void this.link(name, { data: empty, synced: empty }),
          () => undefined,
          false,
        );
        return this.writer(present(name), write);
      },
      stream: (name, chunkBytes) => this.stream(process, () => present(name), chunkBytes),
      rename: (from, to) =>
        write(
          () => this.rename(from, to),
          () => undefined,
          false,
        ),
      remove: (name) =>
        write(
          () => this.unlink(name),
          () => undefined,
          false,
        ),
      syncDirectory: () =>
        write(
          () => undefined,
          () => this.syncDirectory(),
          true,
        ),
    };
  }

  /** The process on it ended; with `power` off, what was not synced goes. */
  crash(power: boolean): void {
    for (const { apply } of this.inFlight) if (this.random.int(2) === 0) apply();
    this.inFlight.clear();
    this.failNextWrite = false;
    if (!power) return;
    const kept = this.random.int(this.unsynced.length + 1);
    for (const ops of this.unsynced.slice(0, kept)) apply(this.truth, ops);
    this.unsynced = [];
    this.pairs = new Map(this.truth);
    for (const op of this.directoryOps.slice(0, this.random.int(this.directoryOps.length + 1))) op();
    this.directoryOps = [];
    this.names = new Map(this.durableNames);
    for (const inode of this.names.values()) this.tear(inode);
  }

  /** Whether this disk's member has met another, durably. */
  hasMet(id: number): boolean {
    return this.truth.has(`p${id}`);
  }

  /** Damages what is stored, so that it can be noticed; false if there is nothing to damage so. */
  damage(kind: Damage): boolean {
    const { compacted, last } = this.readableState();
    const index = compacted.index + 1 + this.random.int(Math.max(1, last - compacted.index));
    switch (kind) {
      case "entry-flipped":
        return index <= last && this.flip(entryKey(index));
      case "entry-lost":
        return index <= last && this.pairs.delete(entryKey(index));
      case "state-flipped":
        return this.flip("s");
      case "tail-lost":
        return this.loseTail();
      case "snapshot-flipped": {
        const bodies = [...this.names.keys()].filter((name) => name.endsWith(".body"));
        const indexes = bodies.map((name) => Number(/\d+/u.exec(name)?.[0] ?? 0));
        // One beyond the log came and was never installed: it is dropped unread.
        const reached = Math.max(...indexes.filter((one) => one <= last), 0);
        const newest = this.names.get(`snapshot-${reached}.body`);
        if (newest === undefined || !this.names.has(`snapshot-${reached}.head`)) return false;
        newest.data = flipped(newest.data, this.random.int(newest.data.length * 8));
        return true;
      }
    }
  }

  /** The state record as it is read. */
  readableState(): DurableState {
    const bytes = this.pairs.get("s");
    return bytes === undefined ? emptyState : (JSON.parse(Buffer.from(bytes).toString("utf8", 4)) as DurableState);
  }

  /** The log's last entries vanish with the record that named them; the marker file still does. */
  private loseTail(): boolean {
    const marker = this.names.get("tail")?.data;
    const state = this.readableState();
    if (marker === undefined || marker.length < 4 || state.last <= state.compacted.index) return false;
    if (crc32(marker.subarray(4)) !== marker.readUInt32LE(0)) return false;
    const named = (JSON.parse(marker.toString("utf8", 4)) as { last: number }).last;
    if (named < state.last) return false;
    this.pairs.delete(entryKey(state.last));
    const body = Buffer.from(JSON.stringify({ ...state, last: state.last - 1 }));
    const record = Buffer.alloc(4 + body.length);
    record.writeUInt32LE(crc32(body), 0);
    body.copy(record, 4);
    this.pairs.set("s", record);
    return true;
  }

  private flip(key: string): boolean {
    const value = this.pairs.get(key);
    if (value === undefined) return false;
    this.pairs.set(key, flipped(value, this.random.int(value.length * 8)));
    return true;
  }

  private putAll(ops: readonly KeyValueOp[]): void {
    apply(this.pairs, ops);
    this.unsynced.push(ops);
  }

  private syncAll(): void {
    for (const ops of this.unsynced) apply(this.truth, ops);
    this.unsynced = [];
  }

  private link(name: string, inode: Inode): Inode {
    this.names.set(name, inode);
    this.directoryOps.push(() => void this.durableNames.set(name, inode));
    return inode;
  }

  private unlink(name: string): void {
    this.names.delete(name);
    this.directoryOps.push(() => void this.durableNames.delete(name));
  }

  private rename(from: string, to: string): void {
    const inode = this.names.get(from);
    if (inode === undefined) throw new Error(`no file ${from}`);
    this.names.delete(from);
    this.names.set(to, inode);
    this.directoryOps.push(() => {
      this.durableNames.delete(from);
      this.durableNames.set(to, inode);
    });
  }

  private syncDirectory(): void {
    for (const op of this.directoryOps) op();
    this.directoryOps = [];
  }

  private tear(inode: Inode): void {
    const { data, synced } = inode;
    if (data !== synced) {
      const roll = this.random.int(3);
      const cut = this.random.int(data.length + 1);
      if (roll === 0) inode.data = synced;
      else if (roll === 1) inode.data = Buffer.concat([data.subarray(0, cut), synced.subarray(cut)]);
    }
    inode.synced = inode.data;
  }

  private writer(
    inode: Inode,
    write: (apply: () => void, finish: () => void, sync: boolean) => Promise<void>,
  ): FileWriter {
    return {
      write: (chunk) => {
        const copy = Buffer.from(chunk);
        return write(
          () => (inode.data = Buffer.concat([inode.data, copy])),
          () => undefined,
          false,
        );
      },
      sync: () =>
        write(
          () => undefined,
          () => (inode.synced = inode.data),
          true,
        ),
      close: async () => undefined,
    };
  }

  private async *stream(
    process: Process,
    open: () => Inode,
    chunkBytes: number,
  ): AsyncGenerator<Uint8Array, void, void> {
    const { data } = await this.read(process, open);
    for (let at = 0; at < data.length; at += chunkBytes) {
      yield await this.read(process, () => data.subarray(at, at + chunkBytes));
    }
  }

  private read<T>(process: Process, take: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const finish = (): void => {
        if (this.waits(process, finish)) return;
        try {
          resolve(take());
        } catch (error) {
          reject(error);
        }
      };
      this.scheduler.after(0.05 + this.random.next() * 0.1, finish, process);
    });
  }

  private work(
    process: Process,
    delayMs: number,
    { apply, crash }: { readonly apply: () => void; readonly crash: () => void },
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const failure = this.full ? "ENOSPC" : this.failNextWrite ? "EIO" : undefined;
      this.failNextWrite = false;
      const pending: Pending = { apply: crash };
      this.inFlight.add(pending);
      const finish = (): void => {
        if (this.waits(process, finish)) return;
        this.inFlight.delete(pending);
        try {
          if (failure === undefined) apply();
          // Whether a write that failed is there after all, nobody knows.
          else if (failure === "EIO" && this.random.int(2) === 0) crash();
        } catch (error) {
          reject(error);
          return;
        }
        if (failure === undefined) resolve();
        else reject(new Error(`${failure}: simulated`));
      };
      this.scheduler.after(delayMs, finish, process);
    });
  }

  /** Puts `finish` off while the disk stalls. */
  private waits(process: Process, finish: () => void): boolean {
    const leftMs = this.stalledUntilMs - this.scheduler.nowMs;
    if (leftMs <= 0) return false;
    this.scheduler.after(leftMs, finish, process);
    return true;
  }
}

function apply(to: Map<string, Uint8Array>, ops: readonly KeyValueOp[]): void {
  for (const op of ops) {
    if (op.type === "put") to.set(text(op.key), op.value);
    else to.delete(text(op.key));
  }
}

function flipped(bytes: Uint8Array, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7));
  return copy;
}

function text(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString("latin1");
}

function entryKey(index: number): string {
  const key = Buffer.alloc(9);
  key[0] = 0x65;
  key.writeUInt32BE(Math.floor(index / 2 ** 32), 1);
  key.writeUInt32BE(index % 2 ** 32, 5);
  return key.toString("latin1");
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
