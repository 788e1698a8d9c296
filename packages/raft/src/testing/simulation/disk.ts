/**
 * A machine's disk, which outlives its processes and has their faults.
 *
 * It has a store, as LevelDB is one, and files; a journal is one of them, which production's code lays out, writes and
 * replays. An operation takes time; at a crash, one that is under way has happened, in part or not at all. When the power
 * fails, what was not synced may go (`store.ts`, `files.ts`). The power can be cut between any two operations, and within
 * any of them. Beside what is readable it keeps the *truth*: what is durable, untouched by damage.
 */
import { assert, type Random } from "@warren/std";

import type { Disk, FileWriter, KeyValue, KeyValueOp } from "../../storage/index.ts";
import type { InPlaceFile, JournalDisk } from "../../storage/disk.ts";
import { openJournal, type JournalShape } from "../../storage/journal.ts";
import { hasJournal, openJournaled } from "../../storage/journaled-key-value.ts";
import { damage, type Damage } from "./damage.ts";
import { SimulatedFiles, tearInto, type Inode } from "./files.ts";
import { LogImage, type LogState } from "./log-image.ts";
import type { Process, Scheduler } from "./scheduler.ts";
import { SimulatedStore, textOf } from "./store.ts";
import { logSteps, type LogStep } from "./watched-storage.ts";

export interface DiskObserver {
  /** A synced batch of the log is durable. */
  durable(): void;
  /** A synced batch resolved, and this key of it is not on the disk. */
  notDurable(key: string): void;
  /** A batch of a process's log was refused. */
  failed(process: Process): void;
  /** The power is to be cut now; false if this machine must not lose it. */
  powerCut(process: Process): boolean;
  /** The power failed during or after an operation, by its kind. */
  cutAt(point: string): void;
}

/** What a disk is asked to do, and on what: the power is cut during and after each. */
export const operationKinds = [
  "write in journal",
  "store batch, synced",
  "store batch",
  "removal from the store",
  "overwrite of tail, synced",
  "overwrite of tail",
  "sync of the directory",
  "creation of journal.new",
  "write to journal.new",
  "sync of journal.new",
  "renaming to journal",
  "creation of snapshot.tmp-N",
  "write to snapshot.tmp-N",
  "sync of snapshot.tmp-N",
  "renaming to snapshot-N.body",
  "creation of snapshot.tmp-N.head",
  "write to snapshot.tmp-N.head",
  "sync of snapshot.tmp-N.head",
  "renaming to snapshot-N.head",
  "removal of snapshot-N.head",
  "removal of snapshot-N.body",
  "removal of snapshot.tmp-N",
  "removal of snapshot.tmp-N.head",
] as const;

export type OperationKind = (typeof operationKinds)[number];

/** Kinds of points at which the power fails. */
export const powerCutPoints: readonly string[] = [
  ...operationKinds.flatMap((kind) => [`during ${kind}`, `after ${kind}`]),
  ...logSteps.map((step) => `after ${step}`),
];

/** When the power is to be cut: with the so-manyth operation from now on that is of this kind, or of any. */
export interface PowerCut {
  readonly kind: OperationKind | LogStep | undefined;
  operations: number;
  readonly moment: "during" | "after";
}

/** Something that writes. */
interface Operation {
  readonly kind: OperationKind;
  readonly sync: boolean;
  /** It is done. */
  readonly apply: () => void;
  /** What is there if it was cut, or failed, and not lost: before its sync is done, it is not durable. */
  readonly cut: () => void;
}

export class SimulatedDisk {
  /** Until when nothing completes. */
  stalledUntilMs = 0;
  /** The next write that comes fails. */
  failNextWrite = false;
  full = false;
  /** Those of a kind that seldom comes wait for it while others come and go. */
  powerCuts: PowerCut[] = [];
  /** Milliseconds of a write, at least; a synced one takes longer. */
  writeMs = 0.2;
  syncMs = 2;
  private readonly scheduler: Scheduler;
  private readonly random: Random;
  private readonly journal: JournalShape | undefined;
  private readonly observer: DiskObserver;
  private readonly store = new SimulatedStore();
  private readonly files = new SimulatedFiles();
  /** The log as it is durable. */
  private truth = new LogImage(this.store.durable);
  private readonly inFlight = new Set<Operation>();

  constructor(scheduler: Scheduler, random: Random, journal: JournalShape | undefined, observer: DiskObserver) {
    this.scheduler = scheduler;
    this.random = random;
    this.journal = journal;
    this.observer = observer;
  }

  /** The durable state record. */
  durableState(): LogState {
    return this.truth.state();
  }

  /** Term of the durable entry at `index`, if it is within the durable log; what was compacted counts as held. */
  durableTerm(index: number): number | "compacted" | undefined {
    return this.truth.term(index);
  }

  /** Whether this disk's member has met another, durably. */
  hasMet(id: number): boolean {
    return this.truth.get(`p${id}`) !== undefined;
  }

  /** The state record as a process that starts now is to find it. */
  readableState(): LogState {
    return new LogImage(this.store.pairs, this.files.find("journal")?.data).state();
  }

  /** Damages what is stored, so that it must be noticed; false if there is nothing to damage so. */
  damage(kind: Damage): boolean {
    return damage(kind, { store: this.store, files: this.files, random: this.random });
  }

  /** A step of the log's is done, and the next not begun: resolves unless the power is cut now. */
  async after(process: Process, step: LogStep): Promise<void> {
    if (this.powerCutNow(step) === undefined || !this.observer.powerCut(process)) return;
    this.observer.cutAt(`after ${step}`);
    await new Promise(() => undefined);
  }

  /** What the disk is to one process. */
  mount(process: Process): Disk {
    const files = this.filesOf(process);
    return { ...files, openKeyValue: () => this.openKeyValue(process, files) };
  }

  /** The process on it ended; with `power` off, what was not synced goes. */
  crash(power: boolean): void {
    if (power) for (const { kind } of this.inFlight) this.observer.cutAt(`during ${kind}`);
    for (const { cut } of this.inFlight) if (this.random.int(2) === 0) cut();
    this.inFlight.clear();
    this.failNextWrite = false;
    if (!power) return;
    this.store.powerOff(this.random);
    this.files.powerOff(this.random);
    this.truth = new LogImage(this.store.durable, this.files.find("journal")?.durable);
  }

  private async openKeyValue(process: Process, files: JournalDisk): Promise<KeyValue> {
    const store = this.storeOf(process);
    const { random } = this;
    await this.read(process, () => undefined);
    const shape = this.journal;
    const options = { known: hasJournal(store), shape, newSalt: () => random.int(2 ** 32) };
    const kv = shape === undefined ? store : await openJournaled(store, await openJournal(files, options));
    return {
      get: (key) => kv.get(key),
      batch: async (ops, { sync }) => {
        try {
          await kv.batch(ops, { sync });
        } catch (error) {
          this.observer.failed(process);
          throw error;
        }
        if (!sync) return;
        for (const op of ops) {
          const held = this.truth.get(textOf(op.key));
          const durable =
            op.type === "put" ? held !== undefined && Buffer.compare(held, op.value) === 0 : held === undefined;
          if (!durable) this.observer.notDurable(textOf(op.key));
        }
        this.observer.durable();
      },
      clear: (from, to) => kv.clear(from, to),
      iterate: (from, to) => kv.iterate(from, to),
      close: () => kv.close(),
    };
  }

  /** LevelDB. */
  private storeOf(process: Process): KeyValue {
    const { store } = this;
    let broken = false;
    const write = async (kind: OperationKind, ops: readonly KeyValueOp[], sync: boolean): Promise<void> => {
      // After one failed write LevelDB refuses every other.
      if (broken) throw new Error("EIO: simulated, the store was not written before");
      const put = (): void => store.write(ops);
      const apply = (): void => {
        put();
        if (!sync) return;
        store.sync();
        this.truth.storeChanged();
      };
      try {
        await this.work(process, { kind, sync, apply, cut: put });
      } catch (error) {
        broken = true;
        throw error;
      }
    };
    return {
      get: (key) => store.pairs.get(textOf(key)),
      batch: async (ops, { sync }) => {
        await write(sync ? "store batch, synced" : "store batch", ops, sync);
      },
      async clear(from, to) {
        const ops = store.range(textOf(from), textOf(to)).map(([key]) => ({ type: "del" as const, key }));
        if (ops.length > 0) await write("removal from the store", ops, false);
      },
      async *iterate(from, to) {
        yield* store.range(textOf(from), textOf(to));
      },
      close: async () => undefined,
    };
  }

  private filesOf(process: Process): Omit<Disk, "openKeyValue"> & JournalDisk {
    const { files } = this;
    const unsynced = (kind: OperationKind, apply: () => void): Promise<void> =>
      this.work(process, { kind, sync: false, apply, cut: apply });
    return {
      list: () => this.read(process, () => files.list()),
      read: (name) => this.read(process, () => files.find(name)?.data),
      overwrite: (name, bytes, { sync }) => {
        const copy = Buffer.from(bytes);
        const write = (): void => void ((files.find(name) ?? files.create(name)).data = copy);
        return this.work(process, {
          kind: kindOf("overwrite of", name, sync ? ", synced" : ""),
          sync,
          apply: () => {
            write();
            if (!sync) return;
            files.open(name).durable = copy;
            files.syncDirectory();
          },
          cut: write,
        });
      },
      create: async (name) => {
        await unsynced(kindOf("creation of", name), () => void files.create(name));
        return this.writer(process, name, files.open(name));
      },
      openInPlace: (name) => this.read(process, () => this.inPlace(process, name, files.openInPlace(name))),
      stream: (name, chunkBytes) => this.stream(process, () => files.open(name), chunkBytes),
      rename: (from, to) => unsynced(kindOf("renaming to", to), () => files.rename(from, to)),
      remove: (name) => unsynced(kindOf("removal of", name), () => files.remove(name)),
      syncDirectory: () =>
        this.work(process, {
          kind: "sync of the directory",
          sync: true,
          apply: () => files.syncDirectory(),
          cut: () => undefined,
        }),
    };
  }

  private writer(process: Process, name: string, inode: Inode): FileWriter {
    return {
      write: (chunk) => {
        const copy = Buffer.from(chunk);
        const write = (): void => void (inode.data = Buffer.concat([inode.data, copy]));
        return this.work(process, { kind: kindOf("write to", name), sync: false, apply: write, cut: write });
      },
      sync: () =>
        this.work(process, {
          kind: kindOf("sync of", name),
          sync: true,
          apply: () => (inode.durable = inode.data),
          cut: () => undefined,
        }),
      close: async () => undefined,
    };
  }

  private inPlace(process: Process, name: string, inode: Inode): InPlaceFile {
    return {
      // A copy: it is written in place.
      read: () => this.read(process, () => Buffer.from(inode.data)),
      write: (bytes, position) => {
        const copy = Buffer.from(bytes);
        return this.work(process, {
          kind: kindOf("write in", name),
          sync: true,
          apply: () => {
            inode.data.set(copy, position);
            inode.durable.set(copy, position);
            this.truth.wrote(copy, position);
          },
          cut: () => tearInto(inode.data, copy, position, this.random),
        });
      },
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

  private work(process: Process, operation: Operation): Promise<void> {
    const { kind, sync, apply, cut } = operation;
    // LevelDB merges its tables now and then.
    const slow = kind === "store batch, synced" && this.random.int(6) === 0 ? 30 : 1;
    const delayMs = slow * (sync ? this.syncMs : this.writeMs) * (0.5 + this.random.next());
    const failure = this.full ? "ENOSPC" : this.failNextWrite ? "EIO" : undefined;
    this.failNextWrite = false;
    this.inFlight.add(operation);
    const power = this.powerCutNow(kind);
    if (power === "during") {
      const cutPower = (): void => void (this.inFlight.has(operation) && this.observer.powerCut(process));
      this.scheduler.after(delayMs * this.random.next(), cutPower, process);
    }
    return new Promise((resolve, reject) => {
      const finish = (): void => {
        if (this.waits(process, finish)) return;
        this.inFlight.delete(operation);
        try {
          if (failure === undefined) apply();
          // Whether a write that failed is there after all, nobody knows.
          else if (failure === "EIO" && this.random.int(2) === 0) cut();
        } catch (error) {
          reject(error);
          return;
        }
        if (power === "after" && this.observer.powerCut(process)) {
          this.observer.cutAt(`after ${kind}`);
          return;
        }
        if (failure === undefined) resolve();
        else reject(new Error(`${failure}: simulated`));
      };
      this.scheduler.after(delayMs, finish, process);
    });
  }

  /** Whether the power is to be cut with the operation that begins now. */
  private powerCutNow(begun: OperationKind | LogStep): PowerCut["moment"] | undefined {
    const due = this.powerCuts.find((cut) => (cut.kind === undefined || cut.kind === begun) && --cut.operations <= 0);
    this.powerCuts = this.powerCuts.filter((cut) => cut !== due);
    return due?.moment;
  }

  /** Puts `finish` off while the disk stalls. */
  private waits(process: Process, finish: () => void): boolean {
    const leftMs = this.stalledUntilMs - this.scheduler.nowMs;
    if (leftMs <= 0) return false;
    this.scheduler.after(leftMs, finish, process);
    return true;
  }
}

/** The kind of an operation on a file, of whose name numbers are left out. */
function kindOf(what: string, name: string, how = ""): OperationKind {
  const kind = `${what} ${name.replaceAll(/\d+/gu, "N")}${how}` as OperationKind;
  assert(operationKinds.includes(kind), `"${kind}" is a kind of operation`);
  return kind;
}
