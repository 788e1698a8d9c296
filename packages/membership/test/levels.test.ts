import { setImmediate as turn } from "node:timers/promises";
import { Cluster, Manager, Meta, Network, Node, RemovedNode } from "@warren/api";
import { level, minLevel } from "@warren/api/model";
import {
  levels,
  memoryDisk,
  MemoryNetwork,
  openLogStorage,
  startRaftNode,
  type Disk,
  type PeersListener,
  type PeerState,
  type RaftNode,
} from "@warren/raft";
import { AsyncQueue, systemClock, systemRandom } from "@warren/std";
import { FakeClock, RecordingLogger, seededRandom, until } from "@warren/std/testing";
import { raftProposer, Store, StoreStateMachine, type ChangeBatch, type View } from "@warren/store";
import { memoryStore } from "@warren/store/testing";
import { describe, expect, onTestFinished, test } from "vitest";

import { programs } from "../../raft/src/testing/simulation/programs.ts";
import { level1, level2, withOwner } from "../../store/test/simulation/level-2.ts";
import { checkOneLevel } from "../src/consensus.ts";
import { whileLeading } from "../src/leader-work.ts";
import { followActiveLevel, introduce, keepIntroduced, tagsOf, type Introduction } from "../src/levels.ts";

const meta = (id: string): Meta => Meta.create({ id });

test("Raft writes at the active level of the cluster, from when it is applied here, and of no other", async () => {
  let cluster: Cluster | undefined;
  let changes = new AsyncQueue<ChangeBatch>(10);
  const view = (): View => ({ cluster }) as View;
  const set: number[] = [];
  const becomes = (active: number): void => {
    cluster = Cluster.create({ level: active });
    changes.push({ version: active, changes: [] });
  };
  const store = {
    view,
    watch: ({ signal }: { readonly signal: AbortSignal }) => {
      changes = new AsyncQueue<ChangeBatch>(10);
      signal.addEventListener("abort", () => changes.close());
      return { view: view(), changes };
    },
  };
  let failures = 1;
  const node = {
    async setActiveLevel(active: number) {
      if (failures-- > 0) throw new Error("the disk is busy");
      set.push(active);
    },
  };
  const clock = new FakeClock();
  {
    const deps = { store, clock, random: seededRandom(1), log: new RecordingLogger() };
    await using _following = followActiveLevel(deps, node);
    becomes(level);
    // The first try fails.
    await until("it writes at the cluster's level", async () => {
      await clock.advanceAsync(1_000);
      return set.at(-1) === level;
    });
    becomes(level + 1);
    await until("it follows", () => set.at(-1) === level + 1);
  }
  expect(new Set(set)).toEqual(new Set([level, level + 1]));
});

/** A leader's view of the others, as a test says it. */
class FakePeers {
  readonly #listeners = new Set<PeersListener>();

  onPeers(listener: PeersListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  see(...tags: readonly PeerState["tags"][]): void {
    const peer = { isLearner: false, isHeard: true, isCaughtUp: true };
    for (const listener of this.#listeners)
      listener(tags.map((each, at) => ({ ...peer, id: at + 2, address: "", tags: each })));
  }
}

const random = systemRandom;

test("a manager stands under its machine's node id from when that is a node, and once only", async () => {
  const { store } = memoryStore();
  let nodeId: string | undefined;
  const introduction = { managerId: "own", nodeId: () => nodeId, version: "1", levels: { level, minLevel } };
  const managers = (): unknown =>
    store
      .view()
      .list("managers")
      .map((each) => each.meta?.id);
  await introduce(store, introduction);
  expect(managers()).toEqual(["own"]);
  {
    await using _kept = keepIntroduced(
      { store, node: new FakePeers(), clock: systemClock, random, log: new RecordingLogger() },
      introduction,
    );
    nodeId = "n1";
    await store.update((tx) => tx.create("nodes", Node.create({ meta: meta("n1") })));
    await until("it stands under its node's id", () => store.view().get("managers", "n1") !== undefined);
    expect(managers()).toEqual(["n1"]);
  }
  // Its machine became another node, and the one before was removed.
  await store.update((tx) => {
    tx.delete("nodes", "n1");
    tx.create("removedNodes", RemovedNode.create({ meta: meta("n1") }));
  });
  nodeId = "n2";
  await introduce(store, introduction);
  expect(managers()).toEqual(["n2"]);
});

describe("the leader writes what another manager says of its program", () => {
  const rows = ({ store }: { readonly store: Store }): unknown =>
    store
      .view()
      .list("managers")
      .map(({ meta, level, minLevel, version }) => [meta?.id, level, minLevel, version]);
  const own: Introduction = {
    managerId: "own",
    nodeId: () => undefined,
    version: "1",
    levels: { level: 3, minLevel: 2 },
  };
  const other = (version: string, more = {}): PeerState["tags"] => ({
    ...tagsOf({ managerId: "m2", nodeId: () => undefined, version, levels: { level: 3, minLevel: 2 } }),
    ...more,
  });

  test("if it has a row: under its node's id once it has one, and nothing of what is no program", async () => {
    const memory = memoryStore();
    const { store } = memory;
    await store.update((tx) => tx.create("managers", Manager.create({ meta: meta("m2"), level: 1, minLevel: 1 })));
    const peers = new FakePeers();
    const kept = keepIntroduced({ store, node: peers, clock: systemClock, random, log: new RecordingLogger() }, own);
    await until("it stands", () => store.view().get("managers", "own") !== undefined);
    peers.see(
      undefined,
      {},
      { manager: "m2", level: "two" },
      other("9", { minLevel: "0" }),
      other("9", { manager: "m3" }),
    );
    peers.see(other("2"));
    await until("it is written", () => store.view().get("managers", "m2")?.version === "2");
    expect(rows(memory)).toEqual([
      ["m2", 3, 2, "2"],
      ["own", 3, 2, "1"],
    ]);
    peers.see(other("2", { node: "n2" }));
    await until("it stands under its node's id", () => store.view().get("managers", "n2") !== undefined);
    expect(rows(memory)).toEqual([
      ["n2", 3, 2, "2"],
      ["own", 3, 2, "1"],
    ]);
    // Removed: it gets no row again, though it is connected still.
    await store.update((tx) => {
      tx.create("removedNodes", RemovedNode.create({ meta: meta("n2") }));
      tx.create("nodes", Node.create({ meta: meta("changes") }));
    });
    await until("it is gone", () => store.view().get("managers", "n2") === undefined);
    peers.see(other("3", { node: "n2" }));
    await kept[Symbol.asyncDispose]();
    expect(rows(memory)).toEqual([["own", 3, 2, "1"]]);
  });

  test("again, if it could not be written", async () => {
    const memory = memoryStore();
    const { store, proposer } = memory;
    const clock = new FakeClock();
    const log = new RecordingLogger();
    await using _kept = keepIntroduced({ store, node: new FakePeers(), clock, random, log }, own);
    proposer.failNext("unavailable", "unavailable");
    await until("it failed", () => log.records.length === 1);
    clock.advance(100);
    await until("it failed again", () => log.records.length === 2);
    clock.advance(200);
    await until("it is written", () => store.view().get("managers", "own") !== undefined);
  });
});

test("Raft's range of levels is the program's, and a program in which it is not does not start", () => {
  expect(levels).toMatchObject({ level, minLevel });
  checkOneLevel(levels, { level, minLevel });
  expect(() => checkOneLevel(levels, { level: level + 1, minLevel })).toThrow(
    `this program reads levels ${minLevel} to ${level + 1}, and its Raft levels ${minLevel} to ${level}`,
  );
  expect(() => checkOneLevel({ level, minLevel: minLevel + 1 }, { level, minLevel })).toThrow("its Raft levels");
});

describe("a group of managers of two programs", () => {
  const log = new RecordingLogger();
  const clock = new FakeClock();
  const network = new MemoryNetwork();
  const random = seededRandom(1);
  const ids = [1, 2, 3];
  interface Running {
    readonly node: RaftNode;
    readonly store: Store;
    readonly close: () => Promise<void>;
  }

  /** Starts a member, as a manager does, of the program of `level`. */
  async function start(id: number, disk: Disk, level: 1 | 2): Promise<Running> {
    const formats = programs[level === 1 ? "present" : "next"];
    const introduction: Introduction = {
      managerId: `m${id}`,
      nodeId: () => undefined,
      version: `0.${level}`,
      levels: { level, minLevel: 1 },
    };
    const identity = { clusterId: "c", nodeId: id, newIncarnation: () => `m${id}`, levels: formats };
    const storage = await openLogStorage(disk, identity);
    const machine = new StoreStateMachine({ schema: level === 1 ? level1 : level2, name: `m${id}` });
    const node = await startRaftNode(
      { clock, random, storage, transport: network.transport(), fsm: machine, formats },
      { bootstrap: ids.map((each) => ({ id: each, address: `m${each}` })), tickMs: 0, tags: tagsOf(introduction) },
    );
    const store = new Store({ clock, random, machine, proposer: raftProposer(node) });
    const following = followActiveLevel({ store, clock, random, log }, node);
    const onLeaderTerm: RaftNode["onLeaderTerm"] = (listener) => node.onLeaderTerm(listener);
    const leading = whileLeading({ onLeaderTerm, store, clock, random, log }, () =>
      keepIntroduced({ store, node, clock, random, log }, introduction),
    );
    const close = async (): Promise<void> => {
      await leading[Symbol.asyncDispose]();
      await following[Symbol.asyncDispose]();
      await node.close();
    };
    onTestFinished(close);
    return { node, store, close };
  }

  test("rises to the next level once each can, though one of them leads all the time and writes for all", async () => {
    const disks = new Map(ids.map((id) => [id, memoryDisk()]));
    const members = new Map<number, Running>();
    for (const id of ids) members.set(id, await start(id, disks.get(id)!, id === 1 ? 2 : 1));
    const { node, store } = members.get(1)!;
    // No other ticks, so that no other can ask for votes.
    const reached = async (what: string, condition: () => boolean): Promise<void> => {
      for (let step = 0; !condition(); step++) {
        if (step > 5_000) throw new Error(`the condition is not met: ${what}`);
        await turn();
        if (step % 4 === 0) node.tick();
      }
    };
    await reached("it leads", () => store.term !== undefined);
    const term = node.leadership().term;
    // As a manager that joins does: it has a row before it is a member.
    await store.update((tx) => {
      tx.create("clusters", Cluster.create({ meta: meta("c"), level: 1 }));
      for (const id of [2, 3])
        tx.create("managers", Manager.create({ meta: meta(`m${id}`), level: 1, minLevel: 1, version: "0.1" }));
    });
    const row = (id: number): string => {
      const { level, version } = store.view().get("managers", `m${id}`) ?? {};
      return `${level} ${version}`;
    };
    const upgrade = async (id: number): Promise<void> => {
      await members.get(id)!.close();
      members.set(id, await start(id, disks.get(id)!, 2));
    };
    const write = (name: string): Promise<unknown> =>
      store.update((tx) =>
        tx.create("networks", withOwner(Network.create({ meta: meta(name), spec: { name } }), "ann")),
      );
    await reached("it stands itself", () => row(1) === "2 0.2");
    await upgrade(2);
    await reached("the second's program is known", () => row(2) === "2 0.2");
    expect([row(3), store.view().cluster?.level, node.activeLevel]).toEqual(["1 0.1", 1, 1]);
    await expect(write("early")).rejects.toMatchObject({
      code: "STORE_LEVEL_HELD_BACK",
      failure: { managers: ["m3"] },
    });
    await upgrade(3);
    await reached("the level has risen", () => store.view().cluster?.level === 2);
    await reached("every Raft member writes at it", () =>
      [...members.values()].every((each) => each.node.activeLevel === 2),
    );
    const written = write("later");
    await reached("all have it", () =>
      [...members.values()].every((each) => each.store.view().get("networks", "later") !== undefined),
    );
    await written;
    expect(node.leadership()).toMatchObject({ isLeader: true, term });
  });
});
