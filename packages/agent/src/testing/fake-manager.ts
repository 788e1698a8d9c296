import {
  AssignmentsMessage_Type,
  LeaseReport_State,
  LeaseState,
  Node,
  SessionMessage,
  type AssignedLease,
  type AssignmentChange,
  type AssignmentsMessage,
  type AssignmentsRequest,
  type LeaseReport,
  type NodeDescription,
  type Point,
  type RelayDown,
  type RelayRequest,
  type RelayUp,
  type SessionRequest,
  type SlotRecord,
  type TaskState,
  type TaskStatus,
} from "@warren/api";
import {
  assignedKinds,
  assignmentDigest,
  assignmentDigestBytes,
  encodeAssigned,
  inSendingOrder,
  leaseKey,
  taskIdOf,
  type AssignedKind,
  type AssignedObjects,
} from "@warren/api/model";
import { abortable, AsyncQueue } from "@warren/std";
import type { Session } from "../seams.ts";

/** A relay that a worker serves, as the manager sees it. */
export interface OpenRelay {
  readonly up: RelayUp[];
  readonly down: AsyncQueue<RelayDown>;
  readonly ended: Promise<void>;
}

/** The managers of a cluster, for one node's worker. A lease that is reported as released is unassigned. */
export class FakeManager {
  /** Assigned objects, by `KIND/KEY`. */
  readonly objects: Map<string, AssignmentChange> = new Map();
  readonly leases: Map<string, AssignedLease> = new Map();
  /** The newest report of each lease. */
  readonly reports: Map<string, LeaseReport> = new Map();
  /** The newest status of each task that was reported. */
  readonly statuses: Map<string, TaskStatus> = new Map();
  /** Each state that was reported of a task, in order, repetitions left out. */
  readonly states: Map<string, TaskState[]> = new Map();
  readonly batches: number[] = [];
  readonly relays: Map<string, OpenRelay> = new Map();
  /** Number of changes in each COMPLETE message. */
  readonly completes: number[] = [];
  description: NodeDescription | undefined;
  /** Of the last session. */
  request: SessionRequest | undefined;
  nodeId = "";
  clusterId = "cluster";
  subnet = "10.77.1.0/24";
  point: { incarnation: { counter: number; id: string }; reign: number; version: number } = {
    incarnation: { counter: 1, id: "first" },
    reign: 7,
    version: 1,
  };
  sessions = 0;
  /** Reported statuses with an earlier state than one before. */
  regressions = 0;
  heartbeats = 0;
  periodMs = 5_000;
  /** Reports fail, though the manager answers. */
  refuseReports = false;
  /** Slots whose leases are another node's: reports of them are refused. */
  readonly refusedSlots: Set<string> = new Set();
  /** Released leases stay assigned. */
  keepReleased = false;
  /** Why it sends no assignments, as it lacks the point that the node last applied; empty: it sends them. */
  historyLost = "";
  /** Why the node was removed; empty: it was not. */
  removed = "";
  /** Heartbeats get no answer. */
  silent = false;
  /** Streams of assignments send nothing. */
  mute = false;
  #reachable = true;
  #session: { readonly id: string; readonly messages: AsyncQueue<SessionMessage> } | undefined;
  /** Reported reasons why leases are settled. */
  readonly #settled = new Map<string, string>();
  readonly #streams = new Set<AsyncQueue<AssignmentsMessage>>();
  #position = 0;

  get connected(): boolean {
    return this.#session !== undefined;
  }

  disconnect(): void {
    this.#reachable = false;
    this.#endSession(new Error("the manager went away"));
  }

  reconnect(): void {
    this.#reachable = true;
  }

  /** Assigns an object, or replaces the one of its key. */
  assign<K extends AssignedKind>(kind: K, key: string, object: AssignedObjects[K]): void {
    this.send([this.#put(kind, key, object)]);
  }

  unassign(kind: AssignedKind, key: string): void {
    this.objects.delete(`${kind}/${key}`);
    if (kind === "lease") this.leases.delete(key);
    this.send([{ kind: assignedKinds[kind].kind, key, object: undefined }]);
  }

  /** Assigns leases; a new one is offered to the worker's present life. */
  lease(lease: AssignedLease, ...more: AssignedLease[]): void {
    const changes = [lease, ...more].map((each) => {
      const key = leaseKey(each.slotId, each.epoch);
      const offeredLife = this.leases.get(key)?.offeredLife ?? (each.offeredLife || (this.description?.life ?? 0));
      return this.#put("lease", key, { ...each, offeredLife });
    });
    this.send(changes);
  }

  setState(key: string, state: LeaseState): void {
    const lease = this.leases.get(key);
    if (lease !== undefined) this.lease({ ...lease, state });
  }

  /** Assigns an object in a message that is lost. */
  assignLost<K extends AssignedKind>(kind: K, key: string, object: AssignedObjects[K]): void {
    this.#put(kind, key, object);
    this.#position += 1;
  }

  /** Sends changes at a later point of the history. */
  send(changes: AssignmentChange[]): void {
    const appliesTo = String(this.#position);
    this.#position += 1;
    this.point.version += 1;
    const resultsIn = String(this.#position);
    for (const stream of this.#streams)
      stream.push({
        type: AssignmentsMessage_Type.INCREMENTAL,
        appliesTo,
        resultsIn,
        changes: inSendingOrder(changes),
        dropped: Buffer.alloc(0),
        point: this.pointNow(),
      });
  }

  relay(request: RelayRequest): void {
    this.#session?.messages.push(SessionMessage.fromPartial({ ...this.#about(), relay: request }));
  }

  /** Sends the node anew, with the subnet as it is now. */
  sendNode(): void {
    this.#session?.messages.push(this.#about());
  }

  pointNow(): Point {
    return structuredClone(this.point);
  }

  connect(): Session {
    return {
      open: (request, signal) => {
        this.#check();
        this.request = request;
        this.nodeId = request.nodeId;
        this.description = request.description;
        this.#endSession(new Error("ABORTED: another session of the node"));
        this.sessions += 1;
        const messages = new AsyncQueue<SessionMessage>();
        const session = { id: `session-${this.sessions}`, messages };
        this.#session = session;
        messages.push(this.#about());
        signal.addEventListener("abort", () => {
          messages.close();
          if (this.#session === session) this.#session = undefined;
        });
        return messages;
      },
      heartbeat: async ({ sessionId }, signal) => {
        await abortable(Promise.resolve(), signal);
        this.#check(sessionId);
        if (this.silent) await abortable(new Promise(() => undefined), signal);
        this.heartbeats += 1;
        return { periodMs: this.periodMs };
      },
      report: async ({ sessionId, leases, description }, signal) => {
        await abortable(Promise.resolve(), signal);
        this.#check(sessionId);
        if (this.refuseReports) throw new Error("UNAVAILABLE: no leader");
        this.batches.push(leases.length);
        const refused = leases.filter(({ slotId }) => this.refusedSlots.has(slotId));
        if (description !== undefined) this.description = description;
        for (const report of leases) if (!refused.includes(report)) this.#store(report);
        const lost = leases
          .filter(({ record }) => record === undefined)
          .map(({ slotId, epoch }) => ({ slotId, epoch }));
        return {
          refused: refused.map(({ slotId, epoch }) => ({ slotId, epoch, why: "another node has it" })),
          records: lost.map((of) => ({ ...of, ...this.#known(leaseKey(of.slotId, of.epoch)) })),
        };
      },
      assignments: (request, signal) => this.#serveAssignments(request, signal),
      relay: (up, signal) => this.#serveRelay(up, signal),
    };
  }

  async *#serveAssignments(
    { sessionId, held }: AssignmentsRequest,
    signal: AbortSignal,
  ): AsyncGenerator<AssignmentsMessage, void, void> {
    this.#check(sessionId);
    const stream = new AsyncQueue<AssignmentsMessage>();
    this.#streams.add(stream);
    signal.addEventListener("abort", () => stream.close());
    if (this.historyLost !== "") stream.fail(new Error(`PRECONDITION: no assignments, as ${this.historyLost}`));
    else if (!this.mute) stream.push(this.#complete(held));
    yield* stream;
  }

  async *#serveRelay(up: AsyncIterable<RelayUp>, signal: AbortSignal): AsyncGenerator<RelayDown, void, void> {
    const down = new AsyncQueue<RelayDown>();
    const ended = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => down.close());
    const reading = (async (): Promise<void> => {
      const received: RelayUp[] = [];
      const messages = up[Symbol.asyncIterator]();
      const read = (): Promise<IteratorResult<RelayUp>> => abortable(messages.next(), signal);
      try {
        for (let next = await read(); next.done !== true; next = await read()) {
          const message = next.value;
          received.push(message);
          if (message.message?.$case === "open")
            this.relays.set(message.message.value.relayId, { up: received, down, ended: ended.promise });
        }
      } finally {
        ended.resolve();
        down.close();
      }
    })();
    reading.catch(() => undefined); // A worker that disconnects breaks its stream; `await` below has the failure.
    yield* down;
    await reading;
  }

  /** The difference to what the worker holds. */
  #complete(held: Uint8Array): AssignmentsMessage {
    const theirs = new Set<string>();
    for (let at = 0; at < held.length; at += assignmentDigestBytes)
      theirs.add(Buffer.from(held.subarray(at, at + assignmentDigestBytes)).toString("hex"));
    const ours = new Map(
      [...this.objects.values()].map((change) => [
        assignmentDigest(change.kind, change.key, change.object ?? Buffer.alloc(0)).toString("hex"),
        change,
      ]),
    );
    const changes = [...ours].filter(([digest]) => !theirs.has(digest)).map(([, change]) => change);
    const dropped = [...theirs].filter((digest) => !ours.has(digest)).join("");
    this.completes.push(changes.length);
    return {
      type: AssignmentsMessage_Type.COMPLETE,
      appliesTo: "",
      resultsIn: String(this.#position),
      changes: inSendingOrder(changes),
      dropped: Buffer.from(dropped, "hex"),
      point: this.pointNow(),
    };
  }

  #put<K extends AssignedKind>(kind: K, key: string, object: AssignedObjects[K]): AssignmentChange {
    const change = { kind: assignedKinds[kind].kind, key, object: Buffer.from(encodeAssigned(kind, object)) };
    this.objects.set(`${kind}/${key}`, change);
    if (kind === "lease") this.leases.set(key, object as AssignedLease);
    return change;
  }

  /** The slot's stored record. */
  #known(key: string): { readonly record: SlotRecord | undefined; readonly settled: string } {
    return { record: this.#recordOf(key), settled: this.#settled.get(key) ?? "" };
  }

  #recordOf(key: string): SlotRecord | undefined {
    return this.reports.get(key)?.record ?? this.leases.get(key)?.initialRecord;
  }

  #store(report: LeaseReport): void {
    const key = leaseKey(report.slotId, report.epoch);
    this.reports.set(key, { ...report, record: report.record ?? this.#recordOf(key) });
    if (report.settled !== "") this.#settled.set(key, report.settled);
    for (const { life, run, status } of report.runs) {
      if (status === undefined) continue;
      const id = taskIdOf(report.slotId, report.epoch, { life, run });
      if (status.state < (this.statuses.get(id)?.state ?? 0)) {
        // A killed worker may have lost a state that it had reported; a manager keeps the furthest.
        this.regressions += 1;
        continue;
      }
      this.statuses.set(id, status);
      const states = this.states.get(id) ?? [];
      if (states.at(-1) !== status.state) states.push(status.state);
      this.states.set(id, states);
    }
    if (report.state === LeaseReport_State.RELEASED && !this.keepReleased && this.leases.has(key))
      this.unassign("lease", key);
  }

  #about(): SessionMessage {
    return SessionMessage.fromPartial({
      sessionId: this.#session?.id ?? "",
      node: Node.fromPartial({ subnet: this.subnet }),
      clusterId: this.clusterId,
      taskPool: "10.77.0.0/16",
      vipPool: "10.96.0.0/16",
      point: this.pointNow(),
      level: 1,
      historyLost: this.historyLost,
      removed: this.removed,
    });
  }

  #check(sessionId?: string): void {
    if (!this.#reachable) throw new Error("UNAVAILABLE: no manager answers");
    if (sessionId !== undefined && sessionId !== this.#session?.id) throw new Error("NOT_FOUND: no such session");
  }

  #endSession(error: Error): void {
    this.#session?.messages.fail(error);
    this.#session = undefined;
    for (const stream of this.#streams) stream.fail(error);
    this.#streams.clear();
  }
}
