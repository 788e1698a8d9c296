import { LeaseReport_State, LeaseState, TaskState } from "@warren/api";
import type { FakeProcess, RuntimeCall } from "@warren/runtime/testing";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { World, type GivenLease, type LeaseInput } from "./fakes/world.ts";

/** Behaviours of a run's process, selected by its arguments. */
type Behaviour = "run" | "deaf" | "exit" | "fail" | "sick";

type Step =
  | { readonly do: "offer"; readonly behaviour: Behaviour; readonly held: boolean }
  | { readonly do: "hold" | "release" | "unassign" | "replace"; readonly lease: number }
  | { readonly do: "exit" | "lose" | "oom"; readonly lease: number }
  | { readonly do: "kill" | "power-cut" | "cut" | "join" | "runtime-away" | "runtime-back" | "registry-away" }
  | { readonly do: "lose-record" }
  | { readonly do: "damage"; readonly entry: number }
  | { readonly do: "fail"; readonly call: RuntimeCall; readonly done: boolean }
  | { readonly do: "network-fails"; readonly call: "open" | "attach" | "detach" | "setEndpoints" }
  | { readonly do: "disk-fails" }
  | { readonly do: "wait"; readonly ms: number }
  | { readonly do: "turn"; readonly turns: number };

const index = fc.nat(20);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("offer" as const),
      behaviour: fc.constantFrom<Behaviour>("run", "run", "deaf", "exit", "fail", "sick"),
      held: fc.boolean(),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constantFrom(
        "hold" as const,
        "hold" as const,
        "release" as const,
        "unassign" as const,
        "replace" as const,
      ),
      lease: index,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom("exit" as const, "lose" as const, "oom" as const), lease: index }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom("kill", "kill", "power-cut", "cut", "join", "runtime-away", "runtime-back", "registry-away"),
    }) as fc.Arbitrary<Step>,
  },
  { weight: 1, arbitrary: fc.constant({ do: "lose-record" } as const) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("damage" as const), entry: fc.nat() }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("fail" as const),
      call: fc.constantFrom<RuntimeCall>("pull", "create", "start", "kill", "remove", "list", "collectOrphans"),
      done: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("network-fails" as const),
      call: fc.constantFrom("open" as const, "detach" as const, "setEndpoints" as const),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ do: "disk-fails" } as const) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(50, 500, 15_000) }) },
  { weight: 10, arbitrary: fc.record({ do: fc.constant("turn" as const), turns: fc.integer({ min: 1, max: 12 }) }) },
);

interface Made extends GivenLease {
  readonly slotId: string;
  readonly behaviour: Behaviour;
}

/** Violations that are watched for during a run. */
interface Watched {
  readonly starts: Map<string, number>;
  /** Processes of one slot that ran at once. */
  readonly doubles: string[];
}

function play(world: World, process: FakeProcess, { starts, doubles }: Watched): void {
  const { id, args = [], labels = {} } = process.container;
  const [behaviour] = args;
  if (process.exec !== undefined) {
    process.exit(behaviour === "sick" ? 1 : 0);
    return;
  }
  starts.set(id, (starts.get(id) ?? 0) + 1);
  const others = world.running(labels["warren.slot-id"]).filter((other) => other !== id);
  if (others.length > 0) doubles.push(`${id} began while ${others.join()} ran`);
  if (behaviour === "deaf") process.onSignal(() => undefined);
  if (behaviour === "exit") process.exit(0);
  if (behaviour === "fail") process.exit(3);
}

function specOf(behaviour: Behaviour, slot: number): NonNullable<LeaseInput["spec"]> {
  const probed = behaviour === "sick" || slot % 3 === 0;
  const healthCheck = {
    probe: { $case: "exec" as const, value: { command: ["check"] } },
    intervalMs: 1_000,
    retries: 2,
  };
  return { container: { args: [behaviour], ...(probed && { healthCheck }) } };
}

async function apply(world: World, step: Step, made: Made[]): Promise<void> {
  const { manager, machine } = world;
  const chosen = "lease" in step ? made[step.lease % Math.max(1, made.length)] : undefined;
  const state = chosen && manager.leases.get(chosen.key)?.state;
  switch (step.do) {
    case "offer": {
      const slotId = `svc.${made.length + 1}`;
      const given = world.offer(slotId, { spec: specOf(step.behaviour, made.length) });
      if (step.held) world.hold(given);
      made.push({ ...given, slotId, behaviour: step.behaviour });
      return;
    }
    case "hold":
      if (chosen !== undefined && state === LeaseState.OFFERED) world.hold(chosen);
      return;
    case "release":
      if (chosen !== undefined) world.release(chosen);
      return;
    case "unassign":
      if (chosen !== undefined && state !== undefined) manager.unassign("lease", chosen.key);
      return;
    case "replace": {
      if (chosen === undefined || state !== LeaseState.HELD) return;
      const next = world.make(chosen.slotId, { spec: specOf("run", made.length), after: chosen.epoch });
      // As a manager does: one transaction, so one message.
      manager.lease({ ...chosen.lease, state: LeaseState.RELEASING }, { ...next.lease, state: LeaseState.HELD });
      made.push({ ...next, slotId: chosen.slotId, behaviour: "run" });
      return;
    }
    case "exit":
    case "lose":
    case "oom": {
      const [id] = world.running(chosen?.slotId);
      if (id === undefined) return;
      if (step.do === "exit") machine.exit(id, 1);
      else if (step.do === "oom") machine.outOfMemory(id);
      else machine.lose(id);
      return;
    }
    case "kill":
      world.kill();
      await world.start({ wait: false });
      return;
    case "power-cut":
      world.powerCut(60_000);
      await world.start({ wait: false });
      return;
    case "lose-record":
      world.kill();
      world.disk.entries.clear();
      await world.start({ wait: false });
      return;
    case "damage": {
      world.kill();
      const { entries } = world.disk;
      const [key, value] = [...entries][step.entry % Math.max(1, entries.size)] ?? [];
      if (key !== undefined && value !== undefined) entries.set(key, value.subarray(0, value.length - 1));
      await world.start({ wait: false });
      return;
    }
    case "cut":
      return manager.disconnect();
    case "join":
      return manager.reconnect();
    case "runtime-away":
      return machine.disconnect();
    case "runtime-back":
      return machine.reconnect();
    case "registry-away":
      return machine.fail("pull", { code: "RUNTIME_REGISTRY_UNREACHABLE", registry: "registry.example" });
    case "fail":
      if (step.done) world.unheard.push(step.call);
      else machine.fail(step.call, { code: "RUNTIME_UNAVAILABLE" });
      return;
    case "network-fails":
      world.network.failures.push({ call: step.call, message: "EBUSY, as scripted" });
      return;
    case "disk-fails":
      world.disk.failures += 1;
      return;
    case "wait":
      return world.pass(step.ms);
    case "turn":
      for (let turn = 0; turn < step.turns; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      return;
    default:
      step satisfies never;
  }
}

/** Whether the node has exactly what the manager assigned. */
function problems(world: World, made: readonly Made[]): string[] {
  const { manager, network } = world;
  const found: string[] = [];
  const expectThat = (holds: boolean, what: string): void => void (holds || found.push(what));
  let balanced = 0;
  for (const { key, lease, behaviour } of made) {
    const assigned = manager.leases.get(key);
    const report = manager.reports.get(key);
    const running = [...world.machine.containers.values()].filter(
      ({ spec, state }) => spec.labels?.["warren.address"] === lease.address && state.kind === "running",
    );
    const attached = [...network.attached.values()].filter(({ address }) => address === lease.address);
    const serving = network.serving("svc").filter((address) => address === lease.address);
    if (assigned === undefined || assigned.state === LeaseState.RELEASING) {
      expectThat(assigned === undefined, `${key} is not reported as released`);
      expectThat(running.length === 0, `${key} is released and runs`);
      expectThat(attached.length === 0, `${key} is released and attached`);
      expectThat(serving.length === 0, `${key} is released and serves`);
      continue;
    }
    const held = assigned.state === LeaseState.HELD;
    const state = held ? LeaseReport_State.HELD : LeaseReport_State.OFFERED;
    expectThat(report?.state === state, `${key} is reported as ${report?.state ?? "nothing"}`);
    const last = report?.runs.at(-1)?.status?.state;
    // A run that ends again and again may be in any state.
    if (held && behaviour !== "run" && behaviour !== "deaf") continue;
    expectThat(running.length === (held ? 1 : 0), `${key} has ${running.length} processes`);
    expectThat(attached.length === 1, `${key} has ${attached.length} interfaces`);
    expectThat(serving.length === (held ? 1 : 0), `${key} serves ${serving.length} times`);
    expectThat(last === (held ? TaskState.RUNNING : TaskState.READY), `the last run of ${key} is in ${last ?? "none"}`);
    balanced += serving.length;
  }
  const steady = made.filter(({ behaviour }) => behaviour === "run" || behaviour === "deaf");
  const addresses = new Set(steady.map(({ lease }) => lease.address));
  const all = network.serving("svc").filter((address) => addresses.has(address)).length;
  expectThat(all === balanced, `${all} serve, ${balanced} are to`);
  return found;
}

test("after any assignments and faults the node has what is assigned, and no slot ran twice", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), fc.nat(), async (steps, seed) => {
      await using world = new World({ keepEndedMs: 20_000 }, seed);
      const watched: Watched = { starts: new Map(), doubles: [] };
      world.machine.program = (process) => play(world, process, watched);
      const made: Made[] = [];
      await world.start();
      const { nodeId } = world.agent;
      for (const each of steps) await apply(world, each, made);
      world.manager.reconnect();
      world.machine.reconnect();
      let last: string[] = [];
      await world
        .until("the end is what was asked for", () => {
          last = problems(world, made);
          return last.length === 0;
        })
        .catch((error: unknown) => {
          throw new Error(`${String(error)}: ${last.join("; ")}`);
        });
      // No disk and no kill makes an id twice (L6), nor two of a slot (L2).
      expect([...watched.starts].filter(([, count]) => count > 1)).toEqual([]);
      expect(watched.doubles).toEqual([]);
      expect(world.manager.nodeId).toBe(nodeId);
      expect(world.network.overlaps).toBe(0);
      const failures = world.log.records.filter(
        ({ event, fields }) => event === "background work failed" || String(fields?.["what"]).startsWith("lease "),
      );
      expect(failures).toEqual([]);
    }),
    { numRuns: Number(process.env["WARREN_AGENT_RUNS"] ?? 300) },
  );
}, 120_000);
