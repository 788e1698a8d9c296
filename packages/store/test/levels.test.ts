import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { Cluster, Manager, Network, Node, StoreCommand, StoreSnapshotChunk } from "@warren/api";
import { describe, expect, test } from "vitest";

import { nextLevel, raiseLevel, StoreError, StoreStateMachine, type Store, type StoreFailure } from "../src/index.ts";
import type { Schema } from "../src/schema.ts";
import { memoryManagers, memoryStore, type MemoryStore } from "../src/testing/index.ts";
import { grownLevel1, level1, level2, only2, ownerOf, volumes, withOwner } from "./simulation/level-2.ts";

/** The messages of a snapshot. */
function chunksIn(bytes: Uint8Array): StoreSnapshotChunk[] {
  const reader = new BinaryReader(bytes);
  const chunks: StoreSnapshotChunk[] = [];
  while (reader.pos < reader.len) chunks.push(StoreSnapshotChunk.decode(reader.bytes()));
  return chunks;
}

function chunkBytes(...chunks: readonly StoreSnapshotChunk[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const chunk of chunks) writer.bytes(StoreSnapshotChunk.encode(chunk).finish());
  return writer.finish();
}

/** A header that announces so many objects. */
function withCount({ part }: StoreSnapshotChunk, objects: number): StoreSnapshotChunk {
  if (part?.$case !== "header") return expect.unreachable("it is a header");
  return { part: { $case: "header", value: { ...part.value, objects } } };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes;
}

const network = (name: string): Network => Network.create({ meta: { id: name }, spec: { name } });
const failure = (work: Promise<unknown>): Promise<StoreFailure> =>
  work.then(
    () => expect.unreachable("it should have failed"),
    (error: { failure: StoreFailure }) => error.failure,
  );
const manager = (id: string, level: number, minLevel = 1): Manager => Manager.create({ meta: { id }, level, minLevel });

/** A cluster of level 1 whose managers' programs are of these levels. */
async function founded(store: Store, ...levels: number[]): Promise<void> {
  await store.update((tx) => {
    tx.create("clusters", Cluster.create({ meta: { id: "cluster" }, level: 1 }));
    for (const [at, level] of levels.entries()) {
      tx.create("managers", manager(`m${at + 1}`, level));
      tx.create("nodes", Node.create({ meta: { id: `m${at + 1}` }, description: { hostname: `host-${at + 1}` } }));
    }
  });
}

describe("the active level", () => {
  test.each([
    ["no manager is known", [], undefined],
    ["one manager writes only level 1", [manager("a", 1), manager("b", 2)], undefined],
    ["all write level 2 and more", [manager("a", 3), manager("b", 2)], 2],
    ["one does not read the level that the others write", [manager("a", 3, 3), manager("b", 2)], undefined],
  ])("where %s, rises as far as every manager can", (_, managers, expected) => {
    const cluster = Cluster.create({ level: 1 });
    expect(nextLevel({ cluster, list: () => managers as never })).toBe(expected);
    expect(nextLevel({ cluster: undefined, list: () => managers as never })).toBeUndefined();
    expect(nextLevel({ cluster: { ...cluster, level: 3 }, list: () => managers as never })).toBeUndefined();
  });

  test("rises by a transaction, and objects that need it are written from then on", async () => {
    const { store } = memoryStore({ schema: level2 });
    await founded(store, 2, 1);
    expect(await store.update(raiseLevel)).toBeUndefined();
    const owned = withOwner(network("a"), "ann");
    const refused = failure(store.update((tx) => tx.create("networks", owned)));
    expect(await refused).toEqual({ code: "STORE_LEVEL_HELD_BACK", needed: 2, active: 1, managers: ["m2"] });
    await expect(store.update((tx) => tx.create(volumes, network("v")))).rejects.toThrow(
      "this needs level 2 and the cluster's level is 1; held back by host-2 (level 1): upgrade it",
    );
    const swallowed = store.update((tx) => {
      try {
        tx.create("networks", owned);
      } catch {
        return "swallowed";
      }
      return "written";
    });
    expect(await failure(swallowed)).toMatchObject({ code: "STORE_LEVEL_HELD_BACK" });
    expect(await failure(store.update((tx) => tx.create(volumes, network("v"))))).toMatchObject({ active: 1 });
    await store.update((tx) => tx.update("managers", { ...tx.resolve("managers", "m2"), level: 2 }));
    await expect(store.update((tx) => tx.create("networks", owned))).rejects.toThrow("retry in a second");
    expect(await store.update(raiseLevel)).toBe(2);
    await store.update((tx) => tx.create("networks", owned));
    await store.update((tx) => tx.create(volumes, network("v")));
    expect(ownerOf(store.view().get("networks", "a"))).toBe("ann");
    expect(store.view().find(volumes, "name", "v")).toHaveLength(1);
  });
});

describe("a program below the active level is refused by name", () => {
  const raised = async (): Promise<MemoryStore> => {
    const made = memoryStore({ schema: level2 });
    await founded(made.store, 2);
    await made.store.update(raiseLevel);
    return made;
  };
  const failsWith = (active: number): unknown => ({
    code: "STORE_LEVEL_REFUSED",
    manager: "host-1",
    active,
    level: 1,
    minLevel: 1,
  });

  test("at the command that raises it, and before it changes anything", async () => {
    const { proposer } = await raised();
    const machine = new StoreStateMachine({ schema: level1, name: "host-1" });
    const at = proposer.applied.length - 1;
    machine.apply(proposer.applied.slice(0, at));
    expect(() => machine.apply(proposer.applied.slice(at))).toThrow(
      "host-1 reads levels 1 to 1 and the cluster's level is 2; install the version of Warren that the other managers run on it",
    );
    expect(machine.view().cluster?.level).toBe(1);
  });

  test("at a snapshot, and at a command, of that level", async () => {
    const { machine, store, proposer } = await raised();
    const old = new StoreStateMachine({ schema: level1, name: "host-1" });
    expect(await failure(old.restore(machine.snapshot()))).toEqual(failsWith(2));
    await store.update((tx) => tx.create("networks", network("a")));
    const apply = (): unknown => old.apply(proposer.applied.slice(-1));
    expect(apply).toThrow(StoreError);
    expect(old.view().version).toBe(0);
  });

  test("and so is one that does not read the cluster's level any more", async () => {
    const { machine, proposer } = memoryStore();
    const late = new StoreStateMachine({ schema: only2, name: "host-1" });
    expect(await failure(late.restore(machine.snapshot()))).toMatchObject({ code: "STORE_LEVEL_REFUSED", active: 1 });
    expect(() => late.apply(proposer.applied)).toThrow("install an earlier version of Warren on it");
  });
});

describe("a field or table that a program does not know", () => {
  /** A manager with the earlier program, and one with the later, on one log. */
  const mixed = (): readonly [MemoryStore, MemoryStore] => {
    const [earlier, later] = memoryManagers(2, {}, {}, [level1, grownLevel1]);
    return [earlier!, later!];
  };
  const restored = async (from: StoreStateMachine, schema: Schema): Promise<StoreStateMachine> => {
    const machine = new StoreStateMachine({ schema });
    await machine.restore(from.snapshot());
    return machine;
  };

  test("is kept in what every object has, too", async () => {
    const [earlier, later] = mixed();
    const unknown = { [(100 << 3) | 2]: [Uint8Array.of(3, 97, 110, 110)] };
    await later.beginTerm();
    await later.store.update((tx) =>
      tx.create("networks", { ...network("a"), meta: { ...network("a").meta!, _unknownFields: unknown } }),
    );
    await earlier.beginTerm();
    await earlier.store.update((tx) =>
      tx.update("networks", { ...tx.resolve("networks", "a"), spec: network("b").spec }),
    );
    const { meta } = (await restored(earlier.machine, level1)).view().resolve("networks", "a");
    expect(meta).toMatchObject({ id: "a", _unknownFields: unknown });
    expect(meta).toEqual(later.store.view().get("networks", "a")?.meta);
  });

  test("is kept in an object, at any depth, through transactions, commands and snapshots", async () => {
    const [earlier, later] = mixed();
    await later.beginTerm();
    await later.store.update((tx) => tx.create("networks", withOwner(network("a"), "ann")));
    await earlier.beginTerm();
    await earlier.store.update((tx) => {
      const read = tx.resolve("networks", "a");
      tx.update("networks", { ...read, spec: { ...read.spec!, labels: { by: "earlier" } } });
    });
    for (const { machine } of [earlier, later])
      for (const schema of [level1, grownLevel1]) {
        const again = await restored(await restored(machine, level1), schema);
        const found = again.view().get("networks", "a");
        expect([ownerOf(found), found?.spec?.labels]).toEqual(["ann", { by: "earlier" }]);
      }
  });

  test("is kept in a snapshot's header and reigns, by a manager that writes commands after it and another snapshot", async () => {
    const [earlier] = mixed();
    const later = { [(700 << 3) | 2]: [Uint8Array.of(1, 7)] };
    const [bytes] = await Array.fromAsync(earlier.machine.snapshot());
    const [header, ...objects] = chunksIn(bytes!);
    const { part } = header!;
    if (part?.$case !== "header") return expect.unreachable("it begins with its header");
    const reigns = part.value.reigns.map((reign) => ({ ...reign, _unknownFields: later }));
    const value = { ...part.value, reigns, _unknownFields: later };
    const written = chunkBytes({ part: { $case: "header", value } }, ...objects);
    const loaded = memoryStore({ schema: level1 });
    await loaded.machine.restore(once(written));
    await loaded.beginTerm();
    await loaded.store.update((tx) => tx.create("networks", network("a")));
    const again = chunksIn((await Array.fromAsync(loaded.machine.snapshot()))[0]!)[0]?.part;
    expect(again).toMatchObject({ value: { _unknownFields: later, reigns: [{ _unknownFields: later }, {}] } });
    // And through a manager that loads that one.
    const next = await restored(loaded.machine, level1);
    expect(chunksIn((await Array.fromAsync(next.snapshot()))[0]!)[0]?.part).toEqual(again);
  });

  test("is refused beside the parts of a snapshot, where it would be lost", async () => {
    const [earlier] = mixed();
    const [bytes] = await Array.fromAsync(earlier.machine.snapshot());
    const _unknownFields = { 5600: [Uint8Array.of(7)] };
    const object: StoreSnapshotChunk = {
      part: { $case: "object", value: { object: { $case: "network", value: network("a") } } },
    };
    const [header] = chunksIn(bytes!);
    for (const chunks of [[{ ...header!, _unknownFields }], [withCount(header!, 1), { ...object, _unknownFields }]]) {
      const machine = new StoreStateMachine();
      await expect(machine.restore(once(chunkBytes(...chunks)))).rejects.toThrow("not of its level");
      expect(machine.view().version).toBe(0);
    }
  });

  test("is kept as an object of an unknown table, which is created, changed and deleted as by a program that knows it", async () => {
    const [earlier, later] = mixed();
    await later.beginTerm();
    await later.store.update((tx) => {
      for (const name of ["x", "y", "z"]) tx.create(volumes, network(name));
      tx.create("networks", network("n"));
    });
    await later.store.update((tx) => {
      tx.update(volumes, withOwner(tx.resolve(volumes, "x") as Network, "ann"));
      tx.delete(volumes, "y");
    });
    const stop = new AbortController();
    const { changes } = earlier.store.watch({ signal: stop.signal });
    await later.store.update((tx) => {
      tx.delete(volumes, "z");
      tx.create("networks", network("seen"));
    });
    for await (const batch of changes) {
      expect(batch.changes.map(({ table }) => table)).toEqual(["networks"]);
      break;
    }
    const again = await restored(await restored(earlier.machine, level1), grownLevel1);
    expect(again.view().list(volumes)).toEqual(later.store.view().list(volumes));
    expect(
      again
        .view()
        .list(volumes)
        .map((each) => ownerOf(each as Network)),
    ).toEqual(["ann"]);
    expect(again.view().list(volumes)[0]?.meta).toMatchObject({ id: "x", version: 4 });
    // A later program's transaction checks the versions that the earlier program has kept.
    expect(earlier.machine.view().version).toBe(later.machine.view().version);
  });

  test("is refused in a command, whose effect would otherwise differ", () => {
    const { proposer, store } = memoryStore();
    const head = { level: 1, at: new Date(0), term: 1, reign: store.term!.reign, base: 1 };
    const strange = { 800: [Uint8Array.of(1)] };
    const object = { object: { $case: "network" as const, value: network("a") } };
    const several = { ...object, _unknownFields: { 1602: [Uint8Array.of(0)] } };
    type Partial = Parameters<typeof StoreCommand.fromPartial>[0];
    const cases: readonly (readonly [Partial, string])[] = [
      [{ ...head, _unknownFields: strange }, "not of its level"],
      [{ ...head, actions: [{ kind: 1 as const, object, _unknownFields: strange }] }, "not of its level"],
      [{ ...head, actions: [{ kind: 1 as const, object: several }] }, "several tables"],
      [{ ...head, actions: [{ kind: 1 as const, object: { _unknownFields: strange } }] }, "no table"],
      [{ ...head, actions: [{ kind: 1 as const, object: { _unknownFields: { 1602: [Uint8Array.of(0)] } } }] }, "no id"],
    ];
    for (const [command, text] of cases) {
      const machine = new StoreStateMachine();
      machine.apply(proposer.applied);
      const data = StoreCommand.encode(StoreCommand.fromPartial(command)).finish();
      expect(() => machine.apply([{ index: 2, term: 1, data }])).toThrow(text);
    }
  });
});
