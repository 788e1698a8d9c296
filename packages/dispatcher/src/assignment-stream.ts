/**
 * One stream of assignments: a COMPLETE message, then INCREMENTAL ones, each naming the one that it follows upon.
 *
 * What changes while the worker does not read is gathered, the newest of each object; so a slow worker costs no more
 * than what there is.
 */
import { abortable, type Clock, type Timer } from "@warren/std";
import { AssignmentsMessage_Type, type AssignmentChange, type AssignmentsMessage } from "@warren/api";

import type { DispatcherOptions } from "./options.ts";

export type Assignment = NonNullable<AssignmentChange["assignment"]>;

/** What needs something comes after it, and goes before it. */
const order: { readonly [kind in Assignment["$case"]]: number } = {
  registry: 0,
  endpoint: 1,
  task: 2,
  removedTask: 3,
  removedEndpoint: 4,
  removedRegistry: 5,
};

export type StreamOptions = Required<Pick<DispatcherOptions, "batchChanges" | "batchMs" | "urgentMs">>;

export class AssignmentStream {
  readonly #clock: Clock;
  readonly #options: StreamOptions;
  readonly #ended = new AbortController();
  /** Objects that the worker was sent. */
  readonly #known = new Set<string>();
  readonly #pending = new Map<string, Assignment>();
  #urgent = false;
  #sentMs = Number.NEGATIVE_INFINITY;
  #sequence = 0;
  #changed: PromiseWithResolvers<void> = Promise.withResolvers();
  #timer: Timer | undefined;

  constructor(clock: Clock, options: StreamOptions) {
    this.#clock = clock;
    this.#options = options;
  }

  /** Aborted when it has ended. */
  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  /** Takes a change. An urgent one waits `urgentMs` behind the message before, others `batchMs`. */
  offer(assignment: Assignment, urgent: boolean): void {
    const key = keyOf(assignment);
    const removal = order[assignment.$case] > order.task;
    if (removal && !this.#known.has(key)) {
      this.#pending.delete(key);
      return;
    }
    this.#pending.set(key, assignment);
    this.#urgent ||= urgent;
    this.#changed.resolve();
  }

  /** Tells the worker to remove a task, whether or not it was sent it here. */
  remove(taskId: string): void {
    this.#known.add(`task/${taskId}`);
    this.offer({ $case: "removedTask", value: taskId }, true);
  }

  /** `messages` throws this. */
  end(error: Error): void {
    this.#timer?.cancel();
    this.#ended.abort(error);
  }

  /** To be read once; what was offered before its first message is in that. */
  async *messages(): AsyncGenerator<AssignmentsMessage, void, void> {
    yield this.#message(AssignmentsMessage_Type.COMPLETE, this.#take(Number.POSITIVE_INFINITY));
    for (;;) {
      await this.#due();
      this.#sentMs = this.#clock.monotonic();
      yield this.#message(AssignmentsMessage_Type.INCREMENTAL, this.#take(this.#options.batchChanges));
    }
  }

  #message(type: AssignmentsMessage_Type, changes: AssignmentChange[]): AssignmentsMessage {
    const appliesTo = this.#sequence === 0 ? "" : String(this.#sequence);
    this.#sequence += 1;
    return { type, appliesTo, resultsIn: String(this.#sequence), changes };
  }

  #take(limit: number): AssignmentChange[] {
    const sorted = [...this.#pending].sort(([, a], [, b]) => order[a.$case] - order[b.$case]);
    const taken = sorted.slice(0, limit);
    for (const [key, assignment] of taken) {
      this.#pending.delete(key);
      if (order[assignment.$case] > order.task) this.#known.delete(key);
      else this.#known.add(key);
    }
    // What is left was due as well.
    this.#urgent &&= this.#pending.size > 0;
    if (this.#pending.size > 0) this.#sentMs = Number.NEGATIVE_INFINITY;
    return taken.map(([, assignment]) => ({ assignment }));
  }

  /** Resolves when the next message is to be sent. */
  async #due(): Promise<void> {
    for (;;) {
      this.#ended.signal.throwIfAborted();
      this.#changed = Promise.withResolvers();
      const waitMs = this.#waitMs();
      if (waitMs <= 0) return;
      this.#timer?.cancel();
      const { resolve, promise } = this.#changed;
      this.#timer = waitMs === Number.POSITIVE_INFINITY ? undefined : this.#clock.setTimeout(resolve, waitMs);
      await abortable(promise, this.#ended.signal);
    }
  }

  #waitMs(): number {
    const { batchChanges, batchMs, urgentMs } = this.#options;
    if (this.#pending.size === 0) return Number.POSITIVE_INFINITY;
    if (this.#pending.size >= batchChanges) return 0;
    return this.#sentMs + (this.#urgent ? urgentMs : batchMs) - this.#clock.monotonic();
  }
}

function keyOf(assignment: Assignment): string {
  switch (assignment.$case) {
    case "task":
      return `task/${assignment.value.id}`;
    case "removedTask":
      return `task/${assignment.value}`;
    case "endpoint":
      return `endpoint/${assignment.value.serviceId}`;
    case "removedEndpoint":
      return `endpoint/${assignment.value}`;
    case "registry":
      return `registry/${assignment.value.registry}`;
    case "removedRegistry":
      return `registry/${assignment.value}`;
  }
}
