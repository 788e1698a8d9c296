/** Follows the state, and passes each node's stream the changes of its objects. */
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
   * Opens a stream for a node, and ends the node's earlier one with `replaced`. The caller ends it.
   *
   * @param held digests of the worker's objects, in hex
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

  /** Sends a node the removal of leases that are gone (L10). */
  removeLeases(nodeId: string, keys: readonly string[]): void {
    const stream = this.#streams.get(nodeId);
    for (const key of keys) stream?.removeLease(key);
  }

  /** Ends every stream. */
  stop(error: Error): void {
    for (const stream of this.#streams.values()) stream.end(error);
  }

  /** Compares everything with the state. */
  resync(view: View): void {
    this.#graph.resync(view);
  }

  /** @param view the newest state, which may be ahead of `changes` */
  follow(view: View, changes: readonly StoreChange[]): void {
    this.#graph.follow(view, dirtyOf(view, changes));
  }
}
