/** The levels of the managers' programs in the store, and the active level that follows from them. */
import { level, minLevel } from "@warren/api/model";
import type { RaftNode } from "@warren/raft";
import { logFailures, TaskGroup, type Logger } from "@warren/std";
import { raiseLevel, type Store } from "@warren/store";

/** Writes the levels of this manager's program where they have changed, and raises the active level if every manager can. */
export async function introduce(
  store: Pick<Store, "update">,
  { id, version }: { readonly id: string; readonly version: string },
): Promise<void> {
  await store.update((tx) => {
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
