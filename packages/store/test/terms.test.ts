/** A leader is a term: what two managers on one log may write, and when. */
import { Network, Slot, StoreCommand } from "@warren/api";
import { describe, expect, test } from "vitest";

import { StoreStateMachine, type Store, type StoreFailure, type Transaction } from "../src/index.ts";
import { memoryManagers, memoryStore } from "../src/testing/index.ts";

const network = (name: string): Network => Network.create({ spec: { name } });
const failure = (work: Promise<unknown>): Promise<StoreFailure> =>
  work.then(
    () => expect.unreachable("it should have failed"),
    (error: { failure: StoreFailure }) => error.failure,
  );

describe("a term", () => {
  test("begins once its first command is applied here", async () => {
    const [, second] = memoryManagers(2);
    const { store, proposer, beginTerm } = second!;
    const release = proposer.holdBack();
    const begun = beginTerm();
    expect(store.term).toBeUndefined();
    expect(await failure(store.update((tx) => tx.create("networks", network("a"))))).toMatchObject({
      code: "STORE_NOT_LEADER",
      leader: "2",
    });
    release();
    expect(await begun).toEqual(store.term);
    await store.update((tx) => tx.create("networks", network("a")));
    expect(store.view().reigns.map(({ term }) => term)).toEqual([1, 2]);
    expect(store.view().reigns.at(-1)).toEqual({ ...(await begun), firstIndex: 2 });
  });

  test("ends where another manager's first command is applied, if this manager has not noticed before", async () => {
    const [first, second] = memoryManagers(2);
    await second!.beginTerm();
    expect(first!.store.term).toBeUndefined();
    expect(await failure(first!.store.update((tx) => tx.create("networks", network("a"))))).toMatchObject({
      code: "STORE_NOT_LEADER",
    });
  });

  test("that is over writes nothing of what was asked for in it, though another has begun", async () => {
    const { store, proposer, beginTerm, endTerm } = memoryStore();
    const release = proposer.hold();
    const inFlight = failure(store.update((tx) => tx.create("networks", network("in flight"))));
    await Promise.resolve();
    const waiting = failure(store.update((tx) => tx.create("networks", network("waiting"))));
    endTerm();
    release();
    await beginTerm();
    expect(await inFlight).toMatchObject({ code: "STORE_NOT_LEADER" });
    expect(await waiting).toMatchObject({ code: "STORE_NOT_LEADER" });
    await store.update((tx) => tx.create("networks", network("new")));
    expect(
      store
        .view()
        .list("networks")
        .map(({ spec }) => spec?.name),
    ).toEqual(["new"]);
  });

  test("that the caller names must be the present one", async () => {
    const { store, beginTerm, endTerm } = memoryStore();
    const { term } = store.term!;
    endTerm();
    await beginTerm();
    const stale = store.update((tx) => tx.create("networks", network("a")), { term });
    expect(await failure(stale)).toMatchObject({ code: "STORE_NOT_LEADER" });
  });

  test("ends with its signal, and can be begun again after a failure", async () => {
    const { store, proposer, beginTerm } = memoryStore();
    proposer.failNext("outcome-unknown-lost");
    expect(await failure(beginTerm())).toMatchObject({ code: "STORE_OUTCOME_UNKNOWN" });
    expect(store.term).toBeUndefined();
    await beginTerm();
    const stop = new AbortController();
    const { term } = store.term!;
    await store.beginTerm(term, stop.signal);
    stop.abort();
    expect(store.term).toBeUndefined();
    await expect(store.beginTerm(term, stop.signal)).rejects.toThrow("aborted");
  });
});

describe("a command", () => {
  /** The commands of one log, as another term, reign or state would have had them. */
  test.each([
    ["another term than its log entry's", { term: 9 }],
    ["another reign than the state's", { reign: 9 }],
    ["another state than it is applied to", { base: 9 }],
  ])("computed in %s has no effect", async (_, changed) => {
    const { store, proposer } = memoryStore();
    await store.update((tx) => tx.create("networks", network("a")));
    const machine = new StoreStateMachine();
    const [begin, create] = proposer.applied;
    machine.apply([begin!]);
    const command = StoreCommand.decode(create!.data);
    machine.apply([{ ...create!, data: StoreCommand.encode({ ...command, ...changed }).finish() }]);
    expect(machine.view().list("networks")).toEqual([]);
    machine.apply([{ ...create!, index: 3 }]);
    expect(machine.view().list("networks")).toHaveLength(1);
  });
});

describe("an epoch", () => {
  test("names the reign and the state that a transaction is computed on, and is there for leaders only", async () => {
    const { store, endTerm } = memoryStore();
    const { reign } = store.term!;
    const epochs = await Promise.all([store.update((tx) => tx.epoch), store.update((tx) => tx.epoch)]);
    expect(epochs).toEqual([
      { reign, index: 1 },
      { reign, index: 1 },
    ]);
    endTerm();
    const swallowed = store.update((tx) => {
      try {
        return tx.epoch;
      } catch {
        return undefined;
      }
    });
    expect(await failure(swallowed)).toMatchObject({ code: "STORE_NOT_LEADER" });
  });

  test("is of one command of a slot only, also where one transaction deletes the slot and another makes it again", async () => {
    const { store } = memoryStore();
    const slot = Slot.create({ meta: { id: "web.1" } });
    await store.update((tx) => tx.create("slots", slot));
    const [, made] = await Promise.all([
      store.update((tx) => tx.delete("slots", "web.1")),
      store.update((tx) => {
        tx.create("slots", { ...slot, serviceName: "again" });
        return tx.epoch;
      }),
    ]);
    expect(made.index).toBe(3);
    expect(store.view().get("slots", "web.1")?.serviceName).toBe("again");
  });
});

describe("a point", () => {
  test("is known where it was passed, and not where another reign was", async () => {
    const [first, second] = memoryManagers(2);
    const points = [first!.store.point()];
    await first!.store.update((tx) => tx.create("networks", network("a")));
    points.push(first!.store.point());
    await second!.beginTerm();
    points.push(second!.store.point());
    for (const point of points) expect(second!.store.knows(point)).toBe(true);
    const [begun, written, taken] = points;
    expect(second!.store.knows({ ...begun!, reign: 1 })).toBe(false);
    expect(second!.store.knows({ ...written!, reign: taken!.reign })).toBe(false);
    expect(second!.store.knows({ ...written!, version: taken!.version })).toBe(false);
    expect(second!.store.knows({ ...taken!, version: taken!.version + 1 })).toBe(false);
    expect(second!.store.knows({ ...taken!, incarnation: { counter: 1, id: "x" } })).toBe(false);
    expect(second!.store.knows(undefined)).toBe(true);
    const copy = new StoreStateMachine();
    await copy.restore(second!.machine.snapshot());
    expect(copy.view().reigns).toEqual(second!.store.view().reigns);
  });
});

describe("a linearizable update that writes nothing, on a manager that was deposed and does not know it", () => {
  const names = (tx: Transaction): string[] => tx.list("networks").map(({ spec }) => spec?.name ?? "");
  const refuse = (tx: Transaction): never => {
    throw new Error(`refused: ${names(tx).join()}`);
  };
  /** The first has not applied what the second, which leads, has acknowledged. */
  const deposed = async (): Promise<{ readonly store: Store; readonly release: () => void }> => {
    const [first, second] = memoryManagers(2);
    const release = first!.proposer.holdBack();
    await second!.beginTerm();
    await second!.store.update((tx) => tx.create("networks", network("a")));
    expect(first!.store.term).toBeDefined();
    return { store: first!.store, release };
  };

  test("is of a state that has all that was acknowledged before the call, whether it returns or refuses", async () => {
    const { store, release } = await deposed();
    const found = store.update(names, { linearizable: true });
    const refused = store.update(refuse, { linearizable: true });
    expect(await store.update(names)).toEqual([]);
    release();
    expect(await found).toEqual(["a"]);
    await expect(refused).rejects.toThrow("refused: a");
  });

  test("writes nothing in a term that is over, though it would after the barrier", async () => {
    const { store, release } = await deposed();
    const late = store.update((tx) => names(tx).length > 0 && tx.create("networks", network("b")), {
      linearizable: true,
    });
    const refused = failure(late);
    release();
    expect(await refused).toMatchObject({ code: "STORE_NOT_LEADER" });
  });

  test("is refused while no leader confirms it", async () => {
    const { store, endTerm } = memoryStore();
    endTerm();
    expect(await failure(store.update(names, { linearizable: true }))).toMatchObject({ code: "STORE_UNAVAILABLE" });
  });
});
