/**
 * Pending tasks get a node. The scheduler is told of each change of nodes and tasks; what it decides is written in
 * batches, and what could not be written it is told as it is.
 *
 * An idle cluster places what comes at once. While changes follow one another, decisions wait until it is quiet for
 * `debounceMs`, though never longer than `debounceCapMs`, so that the tasks of a busy time are placed together.
 */
import { setImmediate } from "node:timers/promises";
import { TaskState, type PendingExplanation, type Task } from "@warren/api";
import { Scheduler, SchedulerError, type Decision } from "@warren/scheduler";
import { Backoff } from "@warren/std";
import { StoreError, type StoreChange, type Transaction, type View } from "@warren/store";
import { pause, rest, type LoopDependencies } from "./control-loop.ts";
import type { ResolvedOptions } from "./options.ts";
import { isPlaceable, nodeState, placement } from "./scheduling-input.ts";
import { idOf, isActive, isReady, nodeName, stateOf, stateSince } from "./task.ts";

type Waiting = Pick<Extract<Decision, { kind: "waiting" }>, "kind" | "taskId" | "nodes" | "refusals" | "text">;
type Placed = Pick<Extract<Decision, { kind: "placed" }>, "kind" | "taskId" | "nodeId" | "text">;

export class SchedulingLoop {
  readonly #deps: LoopDependencies;
  readonly #options: ResolvedOptions;
  #scheduler: Scheduler;
  /** What the scheduler was last told of each node, to tell it only what is new. */
  readonly #nodes = new Map<string, string>();
  /** Tasks that it can't read, and why. */
  readonly #unreadable = new Map<string, string>();
  /** Tasks that found no node so far. */
  readonly #waiting = new Set<string>();
  #bell = Promise.withResolvers<void>();
  /** When the oldest and the latest change came that no pass has answered yet, by the monotonic clock. */
  #unanswered: { readonly first: number; last: number } | undefined;
  #lastPass = Number.NEGATIVE_INFINITY;

  constructor(deps: LoopDependencies, options: ResolvedOptions) {
    this.#deps = { ...deps, log: deps.log.child({ loop: "scheduling" }) };
    this.#options = options;
    this.#scheduler = this.#fresh();
  }

  /** Runs until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const ring = (): void => this.#bell.resolve();
    signal.addEventListener("abort", ring, { once: true });
    try {
      await Promise.all([this.#listen(signal), this.#work(signal)]);
    } finally {
      signal.removeEventListener("abort", ring);
    }
  }

  async #listen(signal: AbortSignal): Promise<void> {
    const { store, log } = this.#deps;
    while (!signal.aborted) {
      const { view, changes } = store.watch({ tables: ["nodes", "tasks", "services"], signal });
      this.#begin(view);
      try {
        for await (const batch of changes) {
          // The newest state, not the change's: what was told once is never taken back by an older batch.
          const now = store.view();
          for (const change of batch.changes) this.#take(change, now);
        }
      } catch (error) {
        if (!StoreError.is(error, "STORE_WATCH_LAGGED")) throw error;
        log.warn("watch lagged; the scheduler is told everything anew");
      }
    }
  }

  #fresh(): Scheduler {
    return new Scheduler({ seed: this.#deps.random.int(2 ** 31) });
  }

  #begin(view: View): void {
    const { clock } = this.#deps;
    this.#scheduler = this.#fresh();
    this.#nodes.clear();
    this.#unreadable.clear();
    this.#waiting.clear();
    for (const node of view.list("nodes")) this.#tellNode(view, idOf(node));
    const failures: { readonly task: Task; readonly at: number }[] = [];
    for (const task of view.list("tasks")) {
      this.#tellTask(view, idOf(task));
      if (!hasFailed(task)) continue;
      failures.push({ task, at: clock.monotonic() - Math.max(0, clock.now() - stateSince(task, clock.now())) });
    }
    for (const { task, at } of failures.toSorted((a, b) => a.at - b.at)) this.#tellFailure(task, at);
    this.#ring();
  }

  #take(change: StoreChange, view: View): void {
    const id = idOf(change.object);
    switch (change.table) {
      case "nodes":
        if (this.#tellNode(view, id) && this.#waiting.size > 0) this.#ring();
        return;
      case "tasks": {
        const { before, object } = change;
        if (hasFailed(object) && !(before !== undefined && hasFailed(before)))
          this.#tellFailure(object, this.#deps.clock.monotonic());
        if (this.#tellTask(view, id)) this.#ring();
        return;
      }
      case "services":
        if (JSON.stringify(change.before?.endpoint) === JSON.stringify(change.object.endpoint)) return;
        for (const task of view.find("tasks", "service", id)) if (this.#tellTask(view, idOf(task))) this.#ring();
        return;
      default:
    }
  }

  /** True if it is news. */
  #tellNode(view: View, id: string): boolean {
    const node = view.get("nodes", id);
    // Without a subnet its tasks would have no address; it has one as soon as the pool has.
    const state = node === undefined || node.subnet === "" ? undefined : nodeState(node);
    const text = JSON.stringify(state);
    if (this.#nodes.get(id) === text) return false;
    if (state === undefined) {
      this.#nodes.delete(id);
      this.#scheduler.apply({ kind: "node-gone", nodeId: id });
    } else {
      this.#nodes.set(id, text);
      this.#scheduler.apply({ kind: "node", node: state });
    }
    return true;
  }

  /** True if there may be something to decide: it waits, or has let go of what another waits for. */
  #tellTask(view: View, id: string): boolean {
    const task = view.get("tasks", id);
    const state = task === undefined ? undefined : placement(task, view.get("services", task.serviceId));
    this.#unreadable.delete(id);
    if (state?.nodeId !== undefined || state === undefined) this.#waiting.delete(id);
    if (state === undefined) {
      this.#scheduler.apply({ kind: "task-gone", taskId: id });
      return this.#waiting.size > 0;
    }
    try {
      this.#scheduler.apply({ kind: "task", task: state });
    } catch (error) {
      if (!SchedulerError.is(error)) throw error;
      this.#unreadable.set(id, error.message);
    }
    return state.nodeId === undefined;
  }

  #tellFailure(task: Task, at: number): void {
    const { nodeId, serviceId, specVersion } = task;
    this.#scheduler.apply({ kind: "failure", nodeId, serviceId, specVersion, at });
  }

  #ring(): void {
    const now = this.#deps.clock.monotonic();
    this.#unanswered ??= { first: now, last: now };
    this.#unanswered.last = now;
    this.#bell.resolve();
    this.#bell = Promise.withResolvers();
  }

  async #work(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(this.#deps.random);
    while (!signal.aborted) {
      if (this.#unanswered === undefined) {
        await this.#bell.promise;
        continue;
      }
      await this.#quiet(signal);
      if (signal.aborted) return;
      this.#unanswered = undefined;
      try {
        await this.#pass();
        backoff.reset();
      } catch (error) {
        await rest(this.#deps, "scheduling", error, backoff.next(), signal);
      }
      this.#lastPass = this.#deps.clock.monotonic();
    }
  }

  /** Until a pass is due for the changes that have come. */
  async #quiet(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    const { debounceMs, debounceCapMs } = this.#options;
    while (this.#unanswered !== undefined && !signal.aborted) {
      const { first, last } = this.#unanswered;
      const idle = first - this.#lastPass >= debounceMs;
      const waitMs = idle ? 0 : Math.min(last + debounceMs, first + debounceCapMs) - clock.monotonic();
      if (waitMs <= 0) return;
      await pause(clock, waitMs, signal);
    }
  }

  async #pass(): Promise<void> {
    const { clock, metrics } = this.#deps;
    const begun = clock.monotonic();
    this.#scheduler.apply({ kind: "time", now: begun });
    const decisions = this.#scheduler.schedule();
    metrics.scheduleSeconds.observe((clock.monotonic() - begun) / 1_000);
    const placed = decisions.filter((each) => each.kind === "placed");
    const waiting: Waiting[] = decisions.filter((each) => each.kind === "waiting");
    for (const [taskId, text] of this.#unreadable)
      waiting.push({ kind: "waiting", taskId, nodes: 0, refusals: [], text });
    for (const { taskId } of waiting) this.#waiting.add(taskId);
    await this.#write([...placed, ...waiting]);
    metrics.waiting.set(this.#waiting.size);
  }

  /** In batches, smaller ones if the log takes no more at once. */
  async #write(decisions: readonly (Placed | Waiting)[]): Promise<void> {
    let size = this.#options.maxWrites;
    for (let from = 0; from < decisions.length;) {
      const batch = decisions.slice(from, from + size);
      try {
        await this.#writeBatch(batch);
        from += batch.length;
      } catch (error) {
        if (StoreError.is(error, "STORE_TOO_LARGE") && batch.length > 1) {
          size = Math.ceil(batch.length / 2);
          continue;
        }
        const view = this.#deps.store.view();
        for (const { taskId } of decisions.slice(from)) this.#tellTask(view, taskId);
        this.#ring();
        throw error;
      }
      if (from < decisions.length) await setImmediate();
    }
  }

  /** What was not written, as things have changed, is told anew. */
  async #writeBatch(batch: readonly (Placed | Waiting)[]): Promise<void> {
    const { store, metrics, clock } = this.#deps;
    const begun = clock.monotonic();
    const done = await store.update((tx) => batch.map((decision) => this.#record(tx, decision)));
    const view = store.view();
    for (const [index, { kind, taskId }] of batch.entries()) {
      if (done[index] !== true) {
        if (this.#tellTask(view, taskId)) this.#ring();
      } else if (kind === "placed") metrics.placements.add();
    }
    metrics.transactions.add(1, { loop: "scheduling" });
    metrics.transactionSeconds.observe((clock.monotonic() - begun) / 1_000, { loop: "scheduling" });
  }

  /** False if things have changed so that the placement holds no longer. */
  #record(tx: Transaction, decision: Placed | Waiting): boolean {
    const task = tx.get("tasks", decision.taskId);
    if (task === undefined || !isPlaceable(task)) return false;
    const at = new Date(this.#deps.clock.now());
    if (decision.kind === "waiting") {
      const message = `waits for a node: ${decision.text}`;
      const pending = explanation(decision);
      if (task.status?.message === message && samePending(task.status.pending, pending)) return true;
      const since = task.status?.at ?? at;
      tx.update("tasks", {
        ...task,
        status: { state: TaskState.PENDING, at: since, message, code: "", container: undefined, pending },
      });
      return true;
    }
    const node = tx.get("nodes", decision.nodeId);
    if (node === undefined || !isReady(node) || !isActive(node) || node.subnet === "") return false;
    const message = `assigned to ${nodeName(node)}: ${decision.text}`;
    tx.update("tasks", {
      ...task,
      nodeId: decision.nodeId,
      status: { state: TaskState.ASSIGNED, at, message, code: "", container: undefined, pending: undefined },
    });
    return true;
  }
}

function explanation({ nodes, refusals }: Waiting): PendingExplanation {
  return {
    nodes,
    refusals: refusals.map(({ filter, nodes: count, nearestNodeId, text }) => ({
      filter,
      nodes: count,
      nearestNodeId,
      text,
    })),
  };
}

function samePending(a: PendingExplanation | undefined, b: PendingExplanation): boolean {
  return a !== undefined && JSON.stringify([a.nodes, a.refusals]) === JSON.stringify([b.nodes, b.refusals]);
}

/** Ended by a fault that may be its node's. */
function hasFailed(task: Task): boolean {
  const state = stateOf(task);
  return task.nodeId !== "" && (state === TaskState.FAILED || state === TaskState.REJECTED);
}
