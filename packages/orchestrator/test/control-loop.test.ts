import { noMetrics, silentLogger, type Logger } from "@warren/std";
import { FakeClock, RecordingLogger, RecordingMetrics, seededRandom } from "@warren/std/testing";
import { StoreError, type Transaction } from "@warren/store";
import { memoryStore } from "@warren/store/testing";
import { Network } from "@warren/api";
import { expect, test } from "vitest";
import { ClockSteps } from "../src/clock-steps.ts";
import { ControlLoop, type Reconciler, type Step } from "../src/control-loop.ts";
import { startOrchestrator } from "../src/index.ts";
import { orchestratorMetrics } from "../src/metrics.ts";
import { SimulatedCluster } from "./simulated-cluster.ts";

async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Keys are networks; `plan` is what the test makes of it. */
class Bench {
  readonly clock = new FakeClock();
  readonly log = new RecordingLogger();
  readonly metrics = new RecordingMetrics();
  readonly memory = memoryStore({ clock: this.clock });
  readonly planned: string[] = [];
  readonly abort = new AbortController();
  touched: Reconciler["touched"] = ({ object }) => [object.meta!.id];
  plan: (tx: Transaction, key: string) => Partial<Step> = () => ({});

  start(maxWrites = 10, resyncMs = 60_000): Promise<void> {
    const reconciler: Reconciler = {
      name: "bench",
      tables: ["networks"],
      keys: (view) => view.list("networks").map(({ meta }) => meta!.id),
      touched: (change, view) => this.touched(change, view),
      plan: (tx, key) => {
        this.planned.push(key);
        return { size: 0, again: false, writeTo: () => undefined, ...this.plan(tx, key) };
      },
    };
    const deps = {
      store: this.memory.store,
      term: this.memory.store.term!.term,
      clock: this.clock,
      clockSteps: new ClockSteps(this.clock),
      random: seededRandom(1),
      log: this.log as Logger,
      metrics: orchestratorMetrics(this.metrics),
    };
    return new ControlLoop(deps, reconciler, { maxWrites, resyncMs }).run(this.abort.signal);
  }

  async put(...ids: string[]): Promise<void> {
    await this.memory.store.update((tx) => {
      for (const id of ids) tx.create("networks", Network.create({ meta: { id }, spec: { name: id } }));
    });
    await settle();
  }

  take(): string[] {
    return this.planned.splice(0);
  }
}

test("what is there is looked at when it starts, then what changes, then what time is due for", async () => {
  const bench = new Bench();
  await bench.put("a", "b");
  bench.plan = (_, key) => (key === "b" ? { wakeInMs: 1_000 } : {});
  const ended = bench.start();
  await settle();
  expect(bench.take()).toEqual(["a", "b"]);
  await bench.put("c");
  expect(bench.take()).toEqual(["c"]);
  await bench.clock.advanceAsync(999);
  expect(bench.take()).toEqual([]);
  await bench.clock.advanceAsync(1);
  await settle();
  expect(bench.take()).toEqual(["b"]);
  bench.abort.abort();
  await ended;
  expect(bench.clock.pending).toBe(0);
});

test("one key's fault is logged, keeps no other from its step, and is tried again", async () => {
  const bench = new Bench();
  let broken = true;
  bench.plan = (_, key) => {
    if (key === "a" && broken) throw new Error("a fault of ours");
    return {};
  };
  const ended = bench.start();
  await bench.put("a", "b");
  expect(bench.take()).toEqual(["a", "b"]);
  expect(bench.log.records).toMatchObject([{ level: "error", fields: { key: "a", loop: "bench" } }]);
  broken = false;
  await bench.clock.advanceAsync(5_000);
  await settle();
  expect(bench.take()).toEqual(["a"]);
  bench.abort.abort();
  await ended;
});

test("a transaction takes what its budget allows; the rest follows in the next", async () => {
  const bench = new Bench();
  const ids = Array.from({ length: 9 }, (_, index) => `n${index}`);
  const done = new Set<string>();
  await bench.put(...ids);
  bench.plan = (_, key) => ({
    size: done.has(key) ? 0 : 2,
    writeTo(tx: Transaction) {
      if (done.has(key)) return;
      done.add(key);
      tx.emit({ kind: 0, objectId: key, objectName: key, action: "one", message: "" });
      tx.emit({ kind: 0, objectId: key, objectName: key, action: "two", message: "" });
    },
  });
  const before = bench.memory.proposer.applied.length;
  const ended = bench.start(4);
  await settle();
  expect(bench.memory.proposer.applied.length - before).toBe(5);
  expect(bench.memory.store.view().list("events")).toHaveLength(18);
  bench.abort.abort();
  await ended;
});

test("what no event announced a pass by time finds and logs", async () => {
  const bench = new Bench();
  bench.touched = () => [];
  bench.plan = () => ({
    size: 1,
    writeTo: (tx) => tx.emit({ kind: 0, objectId: "a", objectName: "a", action: "found", message: "" }),
  });
  const ended = bench.start(10, 1_000);
  await bench.put("a");
  expect(bench.take()).toEqual([]);
  await bench.clock.advanceAsync(1_000);
  await settle();
  expect(bench.take()).toEqual(["a"]);
  expect(bench.metrics.values.get('warren_orchestrator_resync_finds_total{loop="bench"}')).toBe(1);
  bench.abort.abort();
  await ended;
});

test("a watch that lagged is begun anew with a full pass", async () => {
  const world = await SimulatedCluster.start();
  const { store } = world;
  await world.stopLeading();
  let watches = 0;
  world.lead({
    view: () => store.view(),
    term: store.term,
    update: (work, options) => store.update(work, options),
    watch(options) {
      watches += 1;
      const { view, changes } = store.watch(options);
      return watches > 3 ? { view, changes } : { view, changes: lagging() };
    },
  });
  await world.create("web", 2);
  expect(world.running("web")).toHaveLength(2);
  expect(watches).toBe(6);
  await world.stopLeading();
});

// eslint-disable-next-line require-yield
async function* lagging(): AsyncGenerator<never> {
  await Promise.resolve();
  throw new StoreError({ code: "STORE_WATCH_LAGGED", limit: 1 }, "lagged, as told");
}

test("a loop that breaks is logged and begun anew", async () => {
  const world = await SimulatedCluster.start();
  const { store } = world;
  await world.stopLeading();
  let watches = 0;
  world.lead({
    view: () => store.view(),
    term: store.term,
    update: (work, options) => store.update(work, options),
    watch(options) {
      watches += 1;
      if (watches <= 3) throw new Error("a fault of ours");
      return store.watch(options);
    },
  });
  await world.advance(1_000);
  await world.create("web", 2);
  expect(world.running("web")).toHaveLength(2);
  const logged = world.log.records.filter(({ event }) => event === "a loop broke; it is begun anew");
  expect(logged.map(({ fields }) => fields["loop"])).toEqual(["nodes", "services", "scheduling"]);
  await world.stopLeading({ faults: true });
});

test("closing ends every timer and watch; the signal does the same", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 1, {}, false);
  await world.quiet();
  expect(world.clock.pending).toBeGreaterThan(0);
  await world.stopLeading();
  expect(world.clock.pending).toBe(0);

  const abort = new AbortController();
  const { store, clock, random } = world;
  const orchestrator = startOrchestrator(
    { store, clock, random, log: silentLogger, metrics: noMetrics },
    {},
    { signal: abort.signal },
  );
  await world.quiet();
  abort.abort();
  await orchestrator.ended;
  await orchestrator.close();
  expect(world.clock.pending).toBe(0);
});

test("C2: without a term nothing is started", async () => {
  const world = await SimulatedCluster.start();
  await world.stopLeading();
  world.manager.endTerm();
  expect(() => world.lead()).toThrow("start the orchestrator once the store has begun one");
});

test("C2: loops of a term that is over end by themselves, write nothing more, and can be started in the next", async () => {
  const world = await SimulatedCluster.start();
  await world.create("web", 1);
  const { store, clock, random } = world;
  await world.stopLeading();
  await using old = startOrchestrator({ store, clock, random, log: world.log }, world.options);
  await world.quiet();
  // The loops have not noticed: this manager led, another did, and this one leads again.
  await world.beginTerm();
  await world.update("web", (spec) => void (spec.mode!.value.replicas = 3), false);
  await world.quiet();
  await old.ended;
  expect(world.slots("web")).toHaveLength(1);
  expect(world.log.records.filter(({ event }) => event === "the term is over").length).toBeGreaterThan(0);
  world.lead();
  await world.settle();
  expect(world.running("web")).toHaveLength(3);
  await world.stopLeading();
});
