/**
 * The levels of the managers' programs in the store, and the active level that follows from them.
 *
 * Every manager says by Raft's tags, each time it connects to another, which program it runs; the leader writes that into
 * the managers' rows. So the active level rises as soon as each manager can, whichever of them leads.
 */
import type { Manager } from "@warren/api";
import { minLevel } from "@warren/api/model";
import type { PeerState, RaftNode, Tags } from "@warren/raft";
import { Backoff, Changes, delay, logFailures, TaskGroup, type Clock, type Logger, type Random } from "@warren/std";
import { raiseLevel, type LevelRange, type Store, type Transaction } from "@warren/store";

/** A manager's program, and what the manager is known by. */
interface Introduced {
  /** Its own id, under which it stands until its machine is a node. */
  readonly managerId: string;
  /** Of its machine, which it stands under from then on: so `node.role` is known. */
  readonly nodeId: string | undefined;
  readonly version: string;
  readonly levels: LevelRange;
}

/** This manager, as it stands in the cluster's table. */
export interface Introduction extends Omit<Introduced, "nodeId"> {
  /** Read whenever it may have changed. */
  readonly nodeId: () => string | undefined;
}

/** What this manager says of itself to the others, for the one that leads. */
export function tagsOf({ managerId, nodeId, version, levels: { level, minLevel } }: Introduction): Tags {
  const node = nodeId();
  const known = node === undefined ? {} : { node };
  return { manager: managerId, ...known, version, level: String(level), minLevel: String(minLevel) };
}

/** The program of another manager; undefined before that has connected, and where its tags are of something else. */
function introducedBy({ tags }: PeerState): Introduced | undefined {
  const { manager = "", node, version = "" } = tags ?? {};
  const [level, minLevel] = [Number(tags?.["level"]), Number(tags?.["minLevel"])];
  const isRange = Number.isSafeInteger(level) && Number.isSafeInteger(minLevel) && minLevel >= 1;
  if (manager === "" || !isRange) return undefined;
  return { managerId: manager, nodeId: node, version, levels: { level, minLevel } };
}

/**
 * Writes the levels of the managers' programs where they have changed, and raises the active level if every manager can.
 *
 * @param peers the other managers, as the leader sees them; only those that have a row are written
 */
export async function introduce(
  store: Pick<Store, "update">,
  { nodeId, ...own }: Introduction,
  peers: readonly PeerState[] = [],
): Promise<void> {
  const others = peers.map(introducedBy).filter((each) => each !== undefined);
  const self = { ...own, nodeId: nodeId() };
  await store.update((tx) => {
    // A manager whose node was removed is none, and holds no level back.
    for (const { meta } of tx.list("managers"))
      if (meta !== undefined && meta.id !== idOf(self) && tx.get("removedNodes", meta.id) !== undefined)
        tx.delete("managers", meta.id);
    writeRow(tx, self);
    for (const other of others) if (rowOf(tx, other) !== undefined) writeRow(tx, other);
    raiseLevel(tx);
  });
}

/** What a manager stands under. */
function idOf({ managerId, nodeId }: Introduced): string {
  return nodeId ?? managerId;
}

function rowOf(tx: Transaction, manager: Introduced): Manager | undefined {
  return tx.get("managers", idOf(manager)) ?? tx.get("managers", manager.managerId);
}

function writeRow(tx: Transaction, manager: Introduced): void {
  const { managerId, version, levels } = manager;
  const id = idOf(manager);
  if (id !== managerId && tx.get("managers", managerId) !== undefined) tx.delete("managers", managerId);
  const known = tx.get("managers", id);
  const now = { level: levels.level, minLevel: levels.minLevel, version };
  if (known === undefined)
    tx.create("managers", { meta: { id, version: 0, createdAt: undefined, updatedAt: undefined }, ...now });
  else if (known.level !== now.level || known.minLevel !== now.minLevel || known.version !== version)
    tx.update("managers", { ...known, ...now });
}

export interface IntroductionDependencies {
  readonly store: Pick<Store, "watch" | "update">;
  readonly node: Pick<RaftNode, "onPeers">;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/**
 * Introduces the managers again whenever one says something else of itself, and when this manager's machine has become a
 * node, or another one. In the term of a leader, and ended with it; a write that fails is retried after 100 ms at first,
 * then up to 8 s.
 */
export function keepIntroduced(
  { store, node, clock, random, log }: IntroductionDependencies,
  introduction: Introduction,
): AsyncDisposable {
  const group = new TaskGroup(logFailures(log));
  const changed = new Changes();
  let peers: readonly PeerState[] = [];
  const stop = node.onPeers((now) => {
    peers = now;
    changed.notify();
  });
  group.run("nodes", (signal) =>
    following({ store, clock, random, log }, "nodes", signal, async () => changed.notify()),
  );
  group.run("introduction", async (signal) => {
    const backoff = new Backoff(random);
    for (;;) {
      const seen = changed.count;
      try {
        await introduce(store, introduction, peers);
        backoff.reset();
      } catch (error) {
        signal.throwIfAborted();
        log.warn("the managers' programs could not be written, and it is retried", { error });
        await delay(clock, backoff.next(), signal);
        continue;
      }
      await changed.after(seen, signal);
    }
  });
  return {
    async [Symbol.asyncDispose]() {
      stop();
      await group[Symbol.asyncDispose]();
    },
  };
}

/** Has Raft write at the cluster's active level, once that is applied here: every member of the cluster reads it then. */
export function followActiveLevel(
  deps: FollowingDependencies & { readonly store: Pick<Store, "view"> },
  node: Pick<RaftNode, "setActiveLevel">,
): AsyncDisposable {
  const group = new TaskGroup(logFailures(deps.log));
  group.run("active level", (signal) =>
    following(deps, "clusters", signal, async () => {
      const { cluster } = deps.store.view();
      if (cluster !== undefined) await node.setActiveLevel(Math.max(cluster.level, minLevel));
    }),
  );
  return group;
}

interface FollowingDependencies {
  readonly store: Pick<Store, "watch">;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/**
 * Does `step` now and after each change of a table, until `signal` aborts. Where it fails, or its watch has fallen behind,
 * both begin again after a back-off.
 */
async function following(
  { store, clock, random, log }: FollowingDependencies,
  table: "nodes" | "clusters",
  signal: AbortSignal,
  step: () => Promise<void>,
): Promise<never> {
  const backoff = new Backoff(random);
  for (;;) {
    try {
      const { changes } = store.watch({ tables: [table], signal });
      await step();
      for await (const _ of changes) {
        await step();
        backoff.reset();
      }
    } catch (error) {
      signal.throwIfAborted();
      log.warn("following a table of the store failed, and is begun again", { table, error });
    }
    signal.throwIfAborted();
    await delay(clock, backoff.next(), signal);
  }
}
