import type { TaskStatus, TaskStatusUpdate } from "@warren/api";
import { Changes } from "./waiting.ts";

/** Updates in one request; a request of gRPC holds 4 MiB. */
const batchUpdates = 500;

/** What a manager has yet to hear: of each task the newest status, kept until it is acknowledged. */
export class StatusReporter {
  readonly #waiting = new Map<string, TaskStatus>();
  readonly #changes = new Changes();

  get waiting(): number {
    return this.#waiting.size;
  }

  push(taskId: string, status: TaskStatus): void {
    // Deleted first, so that the order is that of the changes.
    this.#waiting.delete(taskId);
    this.#waiting.set(taskId, status);
    this.#changes.tell();
  }

  /** The task is no longer assigned: nobody asks. */
  drop(taskId: string): void {
    this.#waiting.delete(taskId);
  }

  /**
   * Sends what waits and what comes, one batch at a time, until the signal aborts or `send` fails; what was not
   * acknowledged then waits for the next call.
   */
  async run(send: (updates: TaskStatusUpdate[]) => Promise<void>, signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.#changes.until(() => (this.#waiting.size > 0 ? true : undefined), signal);
      const batch = [...this.#waiting].slice(0, batchUpdates);
      await send(batch.map(([taskId, status]) => ({ taskId, status })));
      for (const [taskId, status] of batch) if (this.#waiting.get(taskId) === status) this.#waiting.delete(taskId);
    }
  }
}
