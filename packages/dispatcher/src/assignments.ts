/** Follows the state and hands each node's stream what changed for it. */
import type { StoreChange, View } from "@warren/store";

import { AssignmentGraph } from "./assignment-graph.ts";
import { AssignmentStream, type StreamDependencies, type StreamOptions } from "./assignment-stream.ts";
import { dirtyOf } from "./dirty.ts";

export class Assignments {
  readonly #dependencies: StreamDependencies;
  readonly #options: StreamOptions;
  readonly #graph = new AssignmentGraph();
  readonly #streams = new Map<string, AssignmentStream>();

  constructor(dependencies: Omit<StreamDependencies, "assigned">, options: StreamOptions) {
    this.#dependencies = { ...dependencies, assigned: (stream) => this.#graph.objectsOf(stream) };
    this.#options = options;
  }

  /**
   * A new stream for a node, which replaces the one it has. `end` it when its reader has gone.
   *
   * @param held digests of what the worker has, in hex
   */
  open(view: View, nodeId: string, held: ReadonlySet<string>, replaced: Error): AssignmentStream {
    this.#streams.get(nodeId)?.end(replaced);
    const stream = new AssignmentStream(nodeId, held, this.#dependencies, this.#options);
    this.#streams.set(nodeId, stream);
    stream.signal.addEventListener("abort", () => {
      this.#graph.close(stream);
      if (this.#streams.get(nodeId) === stream) this.#streams.delete(nodeId);
    });
    this.#graph.open(view, stream);
    return stream;
  }

  /** Sends a node the removal of leases that it should not have. */
  removeLeases(nodeId: string, keys: readonly string[]): void {
    const stream = this.#streams.get(nodeId);
    for (const key of keys) stream?.removeLease(key);
  }

  /** Ends every stream. */
  stop(error: Error): void {
    for (const stream of this.#streams.values()) stream.end(error);
  }

  /** Looks at everything again. */
  resync(view: View): void {
    this.#graph.resync(view);
  }

  /** `view` is the newest; it may be ahead of the changes. */
  follow(view: View, changes: readonly StoreChange[]): void {
    this.#graph.follow(view, dirtyOf(view, changes));
  }
}
