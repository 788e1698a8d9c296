import {
  Point,
  SlotRecord,
  TaskStatus,
  type AssignmentKind,
  type Epoch,
  type Incarnation,
  type RestartPolicy,
} from "@warren/api";
import { leaseKey, level as ownLevel, minLevel as ownMinLevel } from "@warren/api/model";
import type { ImageHealthcheck } from "@warren/runtime";
import { errorText, type Clock, type Logger, type Random } from "@warren/std";
import { Assigned } from "./assigned.ts";
import { AgentError } from "./errors.ts";
import { EntrySum, openEntry, sealEntry } from "./record-entry.ts";
import type { AgentState, NetworkSettings } from "./seams.ts";
import { CoalescedWork } from "./waiting.ts";

/** Why this worker stops a run, or never started it. On disk before the run is stopped, so that it survives a crash. */
export interface Verdict {
  readonly kind: "failed" | "rejected" | "dropped";
  readonly code: string;
  readonly message: string;
}

/** A lease's local state. Fields of a later level are kept. */
export interface LeaseLocal {
  readonly slotId: string;
  readonly epoch: Epoch;
  readonly versionId: string;
  readonly address: string;
  /** The incarnation that last assigned the lease. */
  readonly incarnation?: Incarnation;
  /** The life that received the offer; only that life makes run (0, 1) (L6). */
  readonly offeredLife?: number;
  /** The lease has been HELD. */
  readonly held?: boolean;
  /** Why the rules allow no further run. */
  readonly settled?: string;
  /** `releasing`: acknowledged, and never reverted. `released`: its container is gone and its flows are removed. */
  readonly stage?: "releasing" | "released";
  readonly imageDigest?: string;
  /** The service's policy, as last assigned. */
  readonly restart?: RestartPolicy;
  /** Ids of the networks that the last run was attached to. */
  readonly networks?: readonly string[];
  /** As in `TaskAttachment`; undefined: none. */
  readonly nameServers?: readonly string[];
  /** The slot's record was lost: no end is counted and no run starts before a manager has sent the record. */
  readonly recordLost?: boolean;
  /** The lease is of another node, which this machine was before: it is neither reported nor balanced. */
  readonly foreign?: boolean;
}

export interface LeaseRecord {
  local: LeaseLocal;
  record: SlotRecord;
}

/** A run's local state. Fields of a later level are kept. */
export interface RunLocal {
  /** The lease's key. */
  readonly lease: string;
  /** The lease's slot, which is needed after the lease is forgotten. */
  readonly slotId: string;
  readonly life: number;
  readonly run: number;
  /** Position in the order in which this node made its runs. */
  readonly order: number;
  readonly serviceName: string;
  readonly image: string;
  readonly graceMs?: number;
  readonly memoryLimitBytes?: number;
  readonly netnsPath?: string;
  /** HEALTHCHECK of the run's image; undefined: it has none. */
  readonly imageHealthcheck?: ImageHealthcheck;
  readonly verdict?: Verdict;
  /** The record lacked the run; it was rebuilt from its container. */
  readonly found?: boolean;
  /** The run is stopped because its lease is released. */
  readonly stopRequested?: boolean;
  /** Boot id and boot time of its start. */
  readonly bootId?: string;
  readonly startedMs?: number;
}

export interface RunRecord {
  readonly id: string;
  status: TaskStatus;
  local: RunLocal;
}

export interface NodeRecord {
  readonly id: string;
  readonly clusterId?: string;
  /** Undefined until a manager has sent it. */
  readonly network?: NetworkSettings;
}

/** Levels that can be read: `minLevel` to `level`, which is also the highest that is written. */
export interface RecordLevels {
  readonly level: number;
  readonly minLevel: number;
}

interface MetaEntry {
  readonly opened: number;
  readonly count: number;
  readonly sum: number;
}

/**
 * Everything that a worker needs to start again without a manager: its id and network, its assignments, and the state
 * of each lease and run. Held in memory, written behind.
 *
 * I1 Changes are written in the order of the calls, those that wait together; `durable()` resolves when all earlier
 *    changes are on disk.
 * I2 A failed write is tried again until it succeeds; memory holds its changes until then.
 * I3 Each entry has a checksum, and each write stores the sum over all entries, so that an entry that is damaged,
 *    missing or older than the rest is detected. Entries can be fetched again from managers or rebuilt from containers'
 *    labels.
 */
export class LocalRecord {
  readonly assigned: Assigned = new Assigned();
  readonly leases: Map<string, LeaseRecord> = new Map();
  readonly runs: Map<string, RunRecord> = new Map();
  /** Descriptions, for people, of what was damaged or missing when the record was loaded. */
  readonly damage: string[] = [];
  readonly #state: AgentState;
  readonly #levels: RecordLevels;
  #node: NodeRecord | undefined;
  #lastApplied: Point | undefined;
  #opened: number;
  #writtenLevel: number;
  /** Changes that are not written yet, by key; undefined: a removal. */
  #waiting = new Map<string, Uint8Array | undefined>();
  /** Checksum of each entry. */
  readonly #sums = new Map<string, number>();
  readonly #all = new EntrySum();
  readonly #work = new CoalescedWork();
  #order = 0;

  private constructor(state: AgentState, levels: RecordLevels) {
    this.#state = state;
    this.#levels = levels;
    this.#writtenLevel = levels.minLevel;
    this.#opened = state.opened;
  }

  /**
   * Reads the record, and drops damaged entries.
   *
   * @throws AgentError `AGENT_RECORD_UNREADABLE` for a level that this version can't read
   */
  static async load(
    state: AgentState,
    levels: RecordLevels = { level: ownLevel, minLevel: ownMinLevel },
  ): Promise<LocalRecord> {
    const record = new LocalRecord(state, levels);
    if (state.lost !== undefined) record.damage.push(state.lost);
    let meta: MetaEntry | undefined;
    for (const [key, value] of await state.load()) {
      const entry = openEntry(key, value);
      if (entry.kind === "damaged") {
        record.damage.push(`entry "${key}" is damaged`);
        record.#waiting.set(key, undefined);
        continue;
      }
      if (entry.level > levels.level || entry.level < levels.minLevel) throw wrongLevel(key, entry.level, levels);
      if (key === "meta") meta = parse(entry.body) as MetaEntry;
      else record.#take(key, entry.body, entry.sum);
    }
    record.#check(meta);
    for (const { local } of record.runs.values()) record.#order = Math.max(record.#order, local.order);
    return record;
  }

  /** Whether a part of the record was lost. */
  get incomplete(): boolean {
    return this.damage.length > 0;
  }

  get node(): NodeRecord | undefined {
    return this.#node;
  }

  /** The last point of the cluster's history whose assignments were applied. */
  get lastApplied(): Point | undefined {
    return this.#lastApplied;
  }

  /** How often the record was opened; `begin` counts this time. */
  get opened(): number {
    return this.#opened;
  }

  /** Sets the level of later writes: the cluster's, within the levels of this version. */
  writeLevel(level: number): void {
    this.#writtenLevel = Math.min(Math.max(level, this.#levels.minLevel), this.#levels.level);
  }

  setNode(node: NodeRecord): void {
    this.#node = node;
    this.#put("node", json(node));
  }

  setLastApplied(point: Point): void {
    this.#lastApplied = point;
    this.#put("last-applied", Point.encode(point).finish());
  }

  /** Counts this opening, which distinguishes this worker's writes from those of earlier ones. */
  begin(): void {
    this.#opened += 1;
    this.#work.request();
  }

  /** False if the bytes are no message of their kind; they are kept all the same. */
  assign(kind: AssignmentKind, key: string, bytes: Uint8Array): boolean {
    this.#put(`assigned/${kind}/${key}`, bytes);
    return this.assigned.set({ kind, key, bytes });
  }

  unassign(kind: AssignmentKind, key: string): void {
    this.#put(`assigned/${kind}/${key}`, undefined);
    this.assigned.delete(kind, key);
  }

  addLease(lease: LeaseRecord): string {
    const key = leaseKey(lease.local.slotId, lease.local.epoch);
    this.leases.set(key, lease);
    this.#put(`lease/${key}/local`, json(lease.local));
    this.#put(`lease/${key}/record`, SlotRecord.encode(lease.record).finish());
    return key;
  }

  /** Changes the given fields; undefined removes a field. */
  setLease(key: string, change: { readonly [K in keyof LeaseLocal]?: LeaseLocal[K] | undefined }): void {
    const lease = this.lease(key);
    lease.local = changed(lease.local, change);
    this.#put(`lease/${key}/local`, json(lease.local));
  }

  setSlotRecord(key: string, record: SlotRecord): void {
    this.lease(key).record = record;
    this.#put(`lease/${key}/record`, SlotRecord.encode(record).finish());
  }

  deleteLease(key: string): void {
    this.leases.delete(key);
    for (const part of ["local", "record"]) this.#put(`lease/${key}/${part}`, undefined);
  }

  lease(key: string): LeaseRecord {
    const lease = this.leases.get(key);
    if (lease === undefined) throw new Error(`assertion failed: lease ${key} is in the record`);
    return lease;
  }

  addRun(id: string, local: Omit<RunLocal, "order">, status: TaskStatus): RunRecord {
    const run: RunRecord = { id, local: { ...local, order: (this.#order += 1) }, status };
    this.runs.set(id, run);
    this.#put(`run/${id}/local`, json(run.local));
    this.#put(`run/${id}/status`, TaskStatus.encode(status).finish());
    return run;
  }

  setRun(id: string, change: { readonly [K in keyof RunLocal]?: RunLocal[K] | undefined }): void {
    const run = this.run(id);
    run.local = changed(run.local, change);
    this.#put(`run/${id}/local`, json(run.local));
  }

  setStatus(id: string, status: TaskStatus): void {
    this.run(id).status = status;
    this.#put(`run/${id}/status`, TaskStatus.encode(status).finish());
  }

  deleteRun(id: string): void {
    this.runs.delete(id);
    for (const part of ["local", "status"]) this.#put(`run/${id}/${part}`, undefined);
  }

  run(id: string): RunRecord {
    const run = this.runs.get(id);
    if (run === undefined) throw new Error(`assertion failed: run ${id} is in the record`);
    return run;
  }

  /** Runs of a lease, the oldest first. */
  runsOf(lease: string): RunRecord[] {
    return [...this.runs.values()]
      .filter(({ local }) => local.lease === lease)
      .toSorted((a, b) => a.local.order - b.local.order);
  }

  /** Resolves when all changes so far are on disk. */
  durable(signal: AbortSignal): Promise<void> {
    return this.#work.done(signal);
  }

  /** Writes changes until the signal aborts. */
  write(
    dependencies: { readonly clock: Clock; readonly random: Random; readonly log: Logger },
    signal: AbortSignal,
  ): Promise<void> {
    const failed = "the local record could not be written, and is tried again";
    return this.#work.run(dependencies, failed, () => this.#write(), signal);
  }

  async #write(): Promise<void> {
    const batch = this.#waiting;
    this.#waiting = new Map();
    const meta: MetaEntry = { opened: this.#opened, count: this.#all.count, sum: this.#all.sum };
    batch.set("meta", sealEntry("meta", this.#writtenLevel, json(meta)).bytes);
    try {
      await this.#state.write([...batch].map(([key, value]) => ({ key, value })));
    } catch (error) {
      // I2: a later change of the same key replaces the failed one.
      this.#waiting = new Map([...batch, ...this.#waiting]);
      throw error;
    }
  }

  #put(key: string, body: Uint8Array | undefined): void {
    this.#forget(key);
    if (body === undefined) this.#waiting.set(key, undefined);
    else {
      const { bytes, sum } = sealEntry(key, this.#writtenLevel, body);
      this.#count(key, sum);
      this.#waiting.set(key, bytes);
    }
    this.#work.request();
  }

  #count(key: string, sum: number): void {
    this.#sums.set(key, sum);
    this.#all.add(sum);
  }

  #forget(key: string): void {
    const sum = this.#sums.get(key);
    if (sum === undefined) return;
    this.#sums.delete(key);
    this.#all.remove(sum);
  }

  #take(key: string, body: Uint8Array, sum: number): void {
    try {
      this.#read(key, body);
      this.#count(key, sum);
    } catch (error) {
      this.damage.push(`entry "${key}" can't be read: ${errorText(error)}`);
      this.#waiting.set(key, undefined);
    }
  }

  /** I3 */
  #check(meta: MetaEntry | undefined): void {
    const { nodeId, opened } = this.#state;
    if (meta === undefined) {
      if (nodeId !== undefined && this.#state.lost === undefined) this.damage.push("all of it is missing");
    } else if (this.damage.length === 0 && (meta.count !== this.#all.count || meta.sum !== this.#all.sum))
      this.damage.push("some of it is missing");
    else if (meta.opened < opened) this.damage.push("what was written last is missing");
    this.#opened = Math.max(opened, meta?.opened ?? 0);
    // A lease or run of which one entry is missing is dropped, or its slot record is fetched again.
    for (const [key, { local }] of this.leases)
      if (leaseKey(local.slotId, local.epoch) !== key) this.#drop(`lease "${key}"`, () => this.deleteLease(key));
      else if (!this.#sums.has(`lease/${key}/record`))
        this.#drop(`lease "${key}"`, () => this.setLease(key, { recordLost: true }));
    for (const [id, { local }] of this.runs) if (local.lease === "") this.#drop(`run ${id}`, () => this.deleteRun(id));
  }

  #drop(what: string, drop: () => void): void {
    this.damage.push(`a part of ${what} is missing`);
    drop();
  }

  #read(key: string, body: Uint8Array): void {
    const [kind, ...rest] = key.split("/");
    if (kind === "node") this.#node = parse(body) as NodeRecord;
    else if (kind === "last-applied") this.#lastApplied = Point.decode(body);
    else if (kind === "assigned")
      this.assigned.set({ kind: Number(rest[0]) as AssignmentKind, key: rest.slice(1).join("/"), bytes: body });
    else if (kind === "lease") this.#readLease(rest.slice(0, -1).join("/"), rest.at(-1), body);
    else if (kind === "run") this.#readRun(rest[0] ?? "", rest[1], body);
    // Other kinds are of a later level, and are kept.
  }

  #readLease(key: string, part: string | undefined, body: Uint8Array): void {
    const lease = this.leases.get(key) ?? { local: noLease, record: SlotRecord.create() };
    this.leases.set(key, lease);
    if (part === "local") lease.local = parse(body) as LeaseLocal;
    else if (part === "record") lease.record = SlotRecord.decode(body);
  }

  #readRun(id: string, part: string | undefined, body: Uint8Array): void {
    const run = this.runs.get(id) ?? { id, local: noRun, status: TaskStatus.create() };
    this.runs.set(id, run);
    if (part === "local") run.local = parse(body) as RunLocal;
    else if (part === "status") run.status = TaskStatus.decode(body);
  }
}

const noLease: LeaseLocal = { slotId: "", epoch: { reign: 0, index: 0 }, versionId: "", address: "" };
const noRun: RunLocal = { lease: "", slotId: "", life: 0, run: 0, order: 0, serviceName: "", image: "" };

function changed<T extends object>(object: T, change: { readonly [K in keyof T]?: T[K] | undefined }): T {
  return Object.fromEntries(
    Object.entries({ ...object, ...change }).filter(([, value]) => value !== undefined),
  ) as unknown as T;
}

function json(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

function parse(value: Uint8Array): unknown {
  return JSON.parse(Buffer.from(value).toString()) as unknown;
}

function wrongLevel(key: string, found: number, { level, minLevel }: RecordLevels): AgentError {
  return new AgentError(
    { code: "AGENT_RECORD_UNREADABLE", key, level: found },
    `the worker's record has level ${found} at "${key}", and this version reads levels ${minLevel} to ${level}: run the version of Warren that wrote it`,
  );
}

/** The network that a worker last stored in this record, for a program that removes what the worker left. */
export async function recordedNetwork(state: AgentState): Promise<NetworkSettings | undefined> {
  return (await LocalRecord.load(state)).node?.network;
}
