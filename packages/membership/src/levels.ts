/** The levels of the managers' programs in the store, and the active level that follows from them. */
import { level, minLevel } from "@warren/api/model";
import type { RaftNode } from "@warren/raft";
import { logFailures, TaskGroup, type Logger } from "@warren/std";
import { raiseLevel, type Store } from "@warren/store";

/** A manager as it stands in the cluster's table. */
export interface Introduction {
  /** Its own id, under which it stands until its machine is a node. */
  readonly managerId: string;
  /** Of its machine, which it stands under from then on: so `node.role` is known. */
  readonly nodeId: () => string | undefined;
  readonly version: string;
}

/** Writes the levels of this manager's program where they have changed, and raises the active level if every manager can. */
export async function introduce(store: Pick<Store, "update">, introduction: Introduction): Promise<void> {
  const { managerId, nodeId, version } = introduction;
  const id = nodeId() ?? managerId;
  await store.update((tx) => {
    // A manager whose node was removed is none, and holds no level back.
    const over = (each: string): boolean => each === managerId || tx.get("removedNodes", each) !== undefined;
    for (const { meta } of tx.list("managers"))
      if (meta !== undefined && meta.id !== id && over(meta.id)) tx.delete("managers", meta.id);
    const known = tx.get("managers", id);
    const now = { level, minLevel, version };
    if (known === undefined) {
      tx.create("managers", { meta: { id, version: 0, createdAt: undefined, updatedAt: undefined }, ...now });
    } else if (known.level !== level || known.minLevel !== minLevel || known.version !== version) {
      tx.update("managers", { ...known, ...now });
    }
    raiseLevel(tx);
  });
}

/** Introduces a manager again once its machine has become a node, or another one; in its term. @param failed as in LeaderWork */
export function keepIntroduced(
  store: Pick<Store, "watch" | "view" | "update">,
  introduction: Introduction,
  failed: (error: unknown) => void,
): AsyncDisposable {
  const group = new TaskGroup((_name, error) => failed(error));
  group.run("introduction", async (signal) => {
    const follow = async (): Promise<void> => {
      const id = introduction.nodeId();
      const view = store.view();
      if (id === undefined || view.get("nodes", id) === undefined || view.get("managers", id) !== undefined) return;
      await introduce(store, introduction);
    };
    const { changes } = store.watch({ tables: ["nodes"], signal });
    await follow();
    for await (const _ of changes) await follow();
  });
  return group;
}

/** Has Raft write at the cluster's active level, once that is applied here: every member of the cluster reads it then. */
export function followActiveLevel(
  store: Pick<Store, "watch" | "view">,
  node: Pick<RaftNode, "setActiveLevel">,
  log: Logger,
): AsyncDisposable {
  const group = new TaskGroup(logFailures(log));
  group.run("active level", async (signal) => {
    const follow = async (): Promise<void> => {
      const { cluster } = store.view();
      if (cluster !== undefined) await node.setActiveLevel(Math.max(cluster.level, minLevel));
    };
    const { changes } = store.watch({ tables: ["clusters"], signal });
    await follow();
    for await (const _ of changes) await follow();
  });
  return group;
}
