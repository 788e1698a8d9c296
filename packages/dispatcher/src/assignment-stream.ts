/**
 * One stream of assignments: a COMPLETE message, then INCREMENTAL ones, each of which names its predecessor.
 *
 * While the worker does not read, only the newest change of each object is kept, so a slow worker costs bounded memory.
 */
import { Changes, type Clock, type Timer } from "@warren/std";
import {
  AssignmentKind,
  AssignmentsMessage_Type,
  type AssignmentChange,
  type AssignmentsMessage,
  type Point,
} from "@warren/api";
import { assignmentDigestBytes, inSendingOrder } from "@warren/api/model";

import type { AssignedObject } from "./assigned-object.ts";
import type { Holder } from "./assignment-graph.ts";
import { wrong } from "./errors.ts";
import type { DispatcherOptions } from "./options.ts";

export type StreamOptions = Required<Pick<DispatcherOptions, "batchChanges" | "batchMs" | "urgentMs">>;

export interface StreamDependencies {
  readonly clock: Clock;
  /** The present point of history, which each message carries (L13): at or after the state of its changes. */
  readonly point: () => Point;
  /** All objects of the node. */
  readonly assigned: (holder: Holder) => Iterable<AssignedObject>;
}

const none = Buffer.alloc(0);

/** A change that is not sent yet. */
interface Pending {
  readonly change: AssignmentChange;
  /** The worker does not have the object, so that its removal need not be sent. */
  readonly isNew: boolean;
}

/** The digests of an AssignmentsRequest, in hex. @throws ApiError `API_INVALID` */
export function heldDigests(held: Uint8Array): Set<string> {
  if (held.length % assignmentDigestBytes !== 0)
    throw wrong("held", `has ${held.length} bytes; digests are of ${assignmentDigestBytes} bytes each`);
  const hex = Buffer.from(held).toString("hex");
  const digests = new Set<string>();
  const digits = 2 * assignmentDigestBytes;
  for (let at = 0; at < hex.length; at += digits) digests.add(hex.slice(at, at + digits));
  return digests;
}

export class AssignmentStream implements Holder {
  readonly nodeId: string;
  readonly #clock: Clock;
  readonly #point: () => Point;
  readonly #assigned: StreamDependencies["assigned"];
  readonly #options: StreamOptions;
  readonly #ended = new AbortController();
  readonly #pending = new Map<string, Pending>();
  /** Undefined once the COMPLETE message was made: changes are kept from then on. */
  #held: ReadonlySet<string> | undefined;
  #urgent = false;
  #sentMs = Number.NEGATIVE_INFINITY;
  #sequence = 0;
  readonly #changes = new Changes();
  #timer: Timer | undefined;

  /** @param held digests of the worker's objects, in hex */
  constructor(nodeId: string, held: ReadonlySet<string>, dependencies: StreamDependencies, options: StreamOptions) {
    this.nodeId = nodeId;
    this.#held = held;
    this.#clock = dependencies.clock;
    this.#point = dependencies.point;
    this.#assigned = dependencies.assigned;
    this.#options = options;
  }

  /** Aborted when the stream has ended. */
  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  set(assigned: AssignedObject, isNew: boolean): void {
    if (this.#held !== undefined) return;
    const before = this.#pending.get(placeOf(assigned));
    this.#put({ change: assigned, isNew: before?.isNew ?? isNew }, assigned.kind === AssignmentKind.LEASE);
  }

  removed(assigned: AssignedObject): void {
    if (this.#held !== undefined) return;
    if (this.#pending.get(placeOf(assigned))?.isNew === true) this.#pending.delete(placeOf(assigned));
    else this.#put({ change: removalOf(assigned), isNew: false }, isUrgentRemoval(assigned.kind));
  }

  /** Sends the removal of a lease, also of one that this stream never sent (L10). */
  removeLease(key: string): void {
    const change = removalOf({ kind: AssignmentKind.LEASE, key });
    if (!this.#pending.has(placeOf(change))) this.#put({ change, isNew: false }, true);
  }

  /** Ends the stream: `messages` throws `error`. */
  end(error: Error): void {
    this.#timer?.cancel();
    this.#ended.abort(error);
  }

  /** May be read once. The first message includes all changes until it is read. */
  async *messages(): AsyncGenerator<AssignmentsMessage, void, void> {
    this.#ended.signal.throwIfAborted();
    yield this.#complete();
    for (;;) {
      await this.#due();
      this.#sentMs = this.#clock.monotonic();
      yield this.#message(AssignmentsMessage_Type.INCREMENTAL, this.#take(this.#options.batchChanges));
    }
  }

  /** The difference to what the worker holds. The worker then knows that it holds all of its assignments (L12). */
  #complete(): AssignmentsMessage {
    const dropped = new Set(this.#held);
    this.#held = undefined;
    const differing: AssignmentChange[] = this.#take(Number.POSITIVE_INFINITY);
    for (const assigned of this.#assigned(this)) if (!dropped.delete(assigned.digest)) differing.push(assigned);
    const message = this.#message(AssignmentsMessage_Type.COMPLETE, inSendingOrder(differing));
    return { ...message, dropped: Buffer.from([...dropped].toSorted().join(""), "hex") };
  }

  #message(type: AssignmentsMessage_Type, changes: AssignmentChange[]): AssignmentsMessage {
    const appliesTo = this.#sequence === 0 ? "" : String(this.#sequence);
    this.#sequence += 1;
    return { type, appliesTo, resultsIn: String(this.#sequence), changes, dropped: none, point: this.#point() };
  }

  #put(pending: Pending, urgent: boolean): void {
    this.#pending.set(placeOf(pending.change), pending);
    this.#urgent ||= urgent;
    this.#changes.notify();
  }

  #take(limit: number): AssignmentChange[] {
    const taken = inSendingOrder(Array.from(this.#pending.values(), ({ change }) => change)).slice(0, limit);
    for (const change of taken) this.#pending.delete(placeOf(change));
    // The rest was due as well.
    this.#urgent &&= this.#pending.size > 0;
    if (this.#pending.size > 0) this.#sentMs = Number.NEGATIVE_INFINITY;
    return taken;
  }

  /** Resolves when the next message is to be sent. */
  async #due(): Promise<void> {
    for (;;) {
      this.#ended.signal.throwIfAborted();
      const seen = this.#changes.count;
      const waitMs = this.#waitMs();
      if (waitMs <= 0) return;
      this.#timer?.cancel();
      const due = (): void => this.#changes.notify();
      this.#timer = waitMs === Number.POSITIVE_INFINITY ? undefined : this.#clock.setTimeout(due, waitMs);
      await this.#changes.after(seen, this.#ended.signal);
    }
  }

  #waitMs(): number {
    const { batchChanges, batchMs, urgentMs } = this.#options;
    if (this.#pending.size === 0) return Number.POSITIVE_INFINITY;
    if (this.#pending.size >= batchChanges) return 0;
    return this.#sentMs + (this.#urgent ? urgentMs : batchMs) - this.#clock.monotonic();
  }
}

/** The removal of a lease or a backend must arrive before the task stops. */
function isUrgentRemoval(kind: AssignmentKind): boolean {
  return kind === AssignmentKind.LEASE || kind === AssignmentKind.BACKEND;
}

function removalOf({ kind, key }: Pick<AssignmentChange, "kind" | "key">): AssignmentChange {
  return { kind, key, object: undefined };
}

function placeOf({ kind, key }: Pick<AssignmentChange, "kind" | "key">): string {
  return `${kind}/${key}`;
}
