/** A member's life: what fails at its start is closed, what hangs does not keep it from ending, and nothing half-done is seen. */
import { errorText, systemClock, systemRandom } from "@warren/std";
import { RecordingLogger, RecordingMetrics, until } from "@warren/std/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import {
  MemoryNetwork,
  memoryDisk,
  startRaftNode,
  type Disk,
  type RaftNode,
  type RaftNodeDependencies,
  type RaftNodeOptions,
  type RaftStorage,
  type StateMachine,
  type Transport,
} from "../../src/index.ts";
import { bootTimeMs } from "../../src/node/boot-time.ts";
import { members, openStorage, startNode } from "./group.ts";
import { KeyValueMachine, put } from "./key-value-machine.ts";

const alone = { bootstrap: members.slice(0, 1), tickMs: 5 };
interface Made {
  readonly storage: RaftStorage;
  readonly closed: string[];
  readonly dependencies: RaftNodeDependencies;
}

async function make(
  fsm: StateMachine = new KeyValueMachine(),
  {
    disk = memoryDisk(),
    id = 1,
    transport = new MemoryNetwork().transport(),
  }: { disk?: Disk; id?: number; transport?: Transport } = {},
): Promise<Made> {
  const closed: string[] = [];
  const storage = await openStorage(disk, id);
  const watched = (name: string, thing: { close(): Promise<void> }): void => {
    const close = thing.close.bind(thing);
    thing.close = () => {
      closed.push(name);
      return close();
    };
  };
  watched("storage", storage);
  watched("transport", transport);
  return { storage, closed, dependencies: { clock: systemClock, random: systemRandom, storage, transport, fsm } };
}

const start = (dependencies: RaftNodeDependencies, options: RaftNodeOptions = alone): Promise<RaftNode> =>
  startNode(dependencies, options);

describe("a start that fails closes the storage and the transport", () => {
  test.each<readonly [string, (made: Made) => Promise<unknown>, RegExp]>([
    ["for an option", ({ dependencies }) => startRaftNode(dependencies, { electionTicks: 0 }), /electionTicks/u],
    [
      "for a signal that was aborted before",
      ({ dependencies }) => startRaftNode(dependencies, alone, { signal: AbortSignal.abort() }),
      /abort/u,
    ],
    [
      "for a transport that does not start",
      ({ dependencies }) =>
        startRaftNode(
          {
            ...dependencies,
            transport: Object.assign(dependencies.transport, { start: () => Promise.reject(new Error("no port")) }),
          },
          alone,
        ),
      /no port/u,
    ],
  ])("%s", async (_, begin, why) => {
    const made = await make();
    await expect(begin(made)).rejects.toThrow(why);
    expect(made.closed).toContain("storage");
  });

  test("for a state machine that does not restore", async () => {
    const disk = memoryDisk();
    const first = await start((await make(new KeyValueMachine(), { disk })).dependencies, alone);
    await until("it leads", () => first.leadership().ready);
    await first.propose(put("a", "1"));
    await first.takeSnapshot();
    await first.close();
    class Broken extends KeyValueMachine {
      override restore(): Promise<void> {
        return Promise.reject(new Error("it does not fit"));
      }
    }
    const made = await make(new Broken(), { disk });
    await expect(startRaftNode(made.dependencies, alone)).rejects.toThrow("it does not fit");
    expect(made.closed.sort()).toEqual(["storage", "transport"]);
  });

  test("and a signal that is aborted during the start ends the member", async () => {
    const made = await make();
    const abort = new AbortController();
    const { transport } = made.dependencies;
    const begin = transport.start.bind(transport);
    transport.start = async (handler) => {
      abort.abort(new Error("not any more"));
      await begin(handler);
    };
    await expect(startRaftNode(made.dependencies, alone, { signal: abort.signal })).rejects.toThrow("not any more");
    expect(made.closed.sort()).toEqual(["storage", "transport"]);
  });

  test("and one that is aborted later ends it too", async () => {
    const made = await make();
    const abort = new AbortController();
    const node = await startRaftNode(made.dependencies, alone, { signal: abort.signal });
    abort.abort();
    expect(await node.done).toBeUndefined();
    expect(made.closed.sort()).toEqual(["storage", "transport"]);
  });
});

describe("a state machine that hangs", () => {
  class Hanging extends KeyValueMachine {
    hangs = false;
    override apply(batch: Parameters<StateMachine["apply"]>[0]): never {
      return (this.hangs ? new Promise(() => undefined) : super.apply(batch)) as never;
    }
  }

  test.each(["close", "drain"] as const)(
    "does not keep %s from ending, and what is pending is answered",
    async (how) => {
      const fsm = new Hanging();
      const { dependencies, closed } = await make(fsm);
      const node = await start(dependencies);
      await until("it leads", () => node.leadership().ready);
      fsm.hangs = true;
      const pending = Promise.allSettled([node.propose(put("a", "1"))]);
      await until("it is being applied", () => node.inspect().busyMs > 0);
      await (how === "close" ? node.close() : node.drain({ graceMs: 50 }));
      expect((await pending)[0]).toMatchObject({ status: "rejected", reason: { code: "RAFT_OUTCOME_UNKNOWN" } });
      expect(closed).toContain("storage");
    },
  );
});

test("a snapshot that is being taken or sent stops when the member ends", async () => {
  let chunks = 0;
  class Endless extends KeyValueMachine {
    override snapshot(): AsyncIterable<Uint8Array> {
      return (async function* endless() {
        for (;;) {
          chunks++;
          yield Buffer.alloc(1_024);
          await new Promise((resolve) => setImmediate(resolve));
        }
      })();
    }
  }
  const { dependencies } = await make(new Endless());
  const node = await start(dependencies, { ...alone, snapshotEntries: 3 });
  await until("it leads", () => node.leadership().ready);
  for (let i = 0; i < 4; i++) await node.propose(put("a", String(i)));
  await until("a snapshot is being taken", () => chunks > 3);
  await node.close();
  expect(await node.done).toBeUndefined();
});

test("what fails while a member closes is not why it stops", async () => {
  const { dependencies, storage } = await make();
  const log = new RecordingLogger();
  const node = await start({ ...dependencies, log });
  await until("it leads", () => node.leadership().ready);
  const write = Promise.withResolvers<void>();
  storage.write = () => write.promise;
  const pending = Promise.allSettled([node.propose(put("a", "1"))]);
  await until("it is being written", () => node.inspect().busyMs > 0);
  const closed = node.close();
  write.reject(new Error("EIO"));
  await closed;
  expect((await pending)[0]).toMatchObject({ status: "rejected", reason: { code: "RAFT_OUTCOME_UNKNOWN" } });
  expect(await node.done).toBeUndefined();
  expect(log.records.map(({ event }) => event)).not.toContain("raft node stops");
});

test("a read never sees a state that is being replaced by a snapshot's", async () => {
  const restoring = Promise.withResolvers<void>();
  let held = false;
  class Slow extends KeyValueMachine {
    override async restore(from: AsyncIterable<Uint8Array>): Promise<void> {
      this.state = new Map([["half", "restored"]]);
      held = true;
      await restoring.promise;
      await super.restore(from);
    }
  }
  const network = new MemoryNetwork();
  const options = { bootstrap: members, tickMs: 5, snapshotEntries: 5, trailingEntries: 0 };
  const nodes: RaftNode[] = [];
  const machines = [new KeyValueMachine(), new KeyValueMachine(), new Slow()];
  for (const { id } of members) {
    nodes.push(
      await start((await make(machines[id - 1], { id, transport: network.transport() })).dependencies, options),
    );
  }
  const third = nodes[2] as RaftNode;
  const leader = await until("another leads", async () => {
    const found = nodes.find((node) => node.leadership().ready);
    if (found === third) await third.transferLeadership();
    return found !== third && found;
  });
  await leader.propose(put("a", "1"));
  await third.read();
  network.reaches = (from, to) => from !== 3 && to !== 3;
  for (let i = 0; i < 20; i++) await leader.propose(put("b", String(i)));
  network.reaches = () => true;
  await until("the snapshot is being restored", () => held);
  let answered = false;
  const read = third.read().then(
    () => {
      answered = true;
      return [...machines[2]!.state.keys()].sort();
    },
    () => [],
  );
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(answered).toBe(false);
  restoring.resolve();
  expect([["a", "b"], []]).toContainEqual(await read);
});

test("a member that comes back under its id without its log is refused and stops; both sides log it once", async () => {
  const network = new MemoryNetwork();
  const logs = new Map(members.map(({ id }) => [id, new RecordingLogger()]));
  const metrics = new RecordingMetrics();
  const nodes: RaftNode[] = [];
  for (const { id } of members) {
    const { dependencies } = await make(new KeyValueMachine(), { id, transport: network.transport() });
    nodes.push(await start({ ...dependencies, log: logs.get(id)!, metrics }, { bootstrap: members, tickMs: 5 }));
  }
  const leader = await until("one leads", () => nodes.find((node) => node.leadership().ready));
  await leader.propose(put("a", "1"));
  const victim = nodes.find((node) => node !== leader)!;
  await until("they have met", () => leader.status().progress.get(victim.id)?.match === 3);
  await victim.close();
  const { dependencies } = await make(new KeyValueMachine(), { id: victim.id, transport: network.transport() });
  // It speaks first: what a leader sends it shows that its log is gone too.
  network.reaches = (_from, to) => to !== victim.id;
  const wiped = await start({ ...dependencies, log: logs.get(victim.id)! }, { bootstrap: members, tickMs: 5 });
  expect(await wiped.done).toMatchObject({ code: "RAFT_MEMBER_WIPED", failure: { id: victim.id } });
  // It stops as soon as one of the two refused it.
  const refusers = nodes.filter((node) => node !== victim && node.status().refusals.length > 0);
  expect(refusers.length).toBeGreaterThan(0);
  for (const node of refusers) {
    const lines = logs.get(node.id)!.records.filter(({ event }) => event === "peer refused");
    expect(lines).toMatchObject([
      { level: "warn", fields: { peer: victim.id, why: expect.stringContaining("lost its log; remove it") } },
    ]);
    expect(node.status().refusals).toMatchObject([{ peer: victim.id, by: "here" }]);
  }
  expect(metrics.values.get('warren_raft_peers_refused_total{by="here"}')).toBeGreaterThan(0);
});

test("a member of another cluster is refused by name, on both sides", async () => {
  const network = new MemoryNetwork();
  const log = new RecordingLogger();
  const { dependencies } = await make(new KeyValueMachine(), { transport: network.transport() });
  const one = await start(dependencies, { ...alone, bootstrap: members });
  const storage = await openStorage(memoryDisk(), 2, "other");
  const two = await start(
    { ...dependencies, storage, transport: network.transport(), log },
    { bootstrap: members, tickMs: 5 },
  );
  const why = expect.stringContaining("belongs to cluster") as string;
  await until("both know", () => one.status().refusals.length > 0 && two.status().refusals.length > 1);
  expect(
    two
      .status()
      .refusals.map(({ by }) => by)
      .sort(),
  ).toEqual(["here", "there"]);
  for (const { fields } of log.records.filter(({ event }) => event.includes("refused")))
    expect(fields).toMatchObject({ why });
  expect(log.records.filter(({ event }) => event.includes("refused"))).toHaveLength(2);
});

test(
  "every method in every state, whatever it is given, answers in time, and with a code when it refuses",
  { timeout: 60_000 },
  async () => {
    const anything = fc.oneof(
      fc.integer(),
      fc.double(),
      fc.string(),
      fc.constant(undefined),
      fc.constant(null),
      fc.constantFrom(1, 2, 0, 2 ** 53),
    );
    const method = fc.constantFrom(
      "propose",
      "openSession",
      "proposeInSession",
      "read",
      "status",
      "leadership",
      "addLearner",
      "promote",
      "demote",
      "updateMember",
      "remove",
      "changeMembers",
      "transferLeadership",
      "takeSnapshot",
      "exportSnapshot",
      "compact",
      "changeOptions",
      "campaign",
      "setActiveLevel",
      "tick",
      "inspect",
    );
    const state = fc.constantFrom("open", "draining", "closed", "without a leader");
    const calls = fc.array(fc.record({ method, args: fc.array(anything, { maxLength: 4 }) }), {
      minLength: 1,
      maxLength: 6,
    });
    await fc.assert(
      fc.asyncProperty(state, calls, async (of, asked) => {
        const fsm = new KeyValueMachine();
        const { dependencies } = await make(fsm);
        const bootstrap = of === "without a leader" ? members : members.slice(0, 1);
        const node = await startRaftNode(dependencies, {
          bootstrap,
          tickMs: 5,
          proposalTimeoutMs: 50,
          readTimeoutMs: 50,
        });
        if (of !== "without a leader") await until("it leads", () => node.leadership().ready);
        const ending = of === "draining" ? node.drain({ graceMs: 20 }) : of === "closed" ? node.close() : undefined;
        const answers = asked.map(async (one) => {
          const args =
            one.method === "propose"
              ? [put("a", "1"), { term: one.args[0] as number }]
              : one.method === "proposeInSession"
                ? [...one.args.slice(0, 3), put("a", "1")].slice(-4)
                : one.args;
          if (one.method === "proposeInSession" && args.length < 4) return;
          try {
            await (node[one.method] as unknown as (...its: unknown[]) => unknown).call(node, ...args);
          } catch (error) {
            const { code } = error as { code?: string };
            expect(code, `${one.method}: ${errorText(error)}`).toMatch(/^RAFT_/u);
          }
        });
        await Promise.all(answers);
        await ending;
        if (ending === undefined && of === "open") await node.propose(put("b", "2"));
        await node.close();
        expect(await node.done).toBeUndefined();
      }),
      { numRuns: 60 },
    );
  },
);

test("time for leases goes on with the machine, not with the process's own clock", () => {
  const before = bootTimeMs();
  expect(before).toBeGreaterThanOrEqual(performance.now() - 20);
  expect(bootTimeMs()).toBeGreaterThanOrEqual(before);
});
