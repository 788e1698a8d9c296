import { TaskState, type AssignedTask } from "@warren/api";
import type { FakeProcess, RuntimeCall } from "@warren/runtime/testing";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { task, World } from "./fakes/world.ts";

/** What a task's process does, told by its arguments. */
type Behaviour = "run" | "deaf" | "exit" | "fail" | "sick";

type Step =
  | { readonly do: "assign"; readonly behaviour: Behaviour; readonly desired: "READY" | "RUNNING" }
  | { readonly do: "desire"; readonly task: number; readonly state: "RUNNING" | "SHUTDOWN" | "REMOVE" }
  | { readonly do: "remove"; readonly task: number }
  | { readonly do: "exit" | "lose" | "oom"; readonly task: number }
  | { readonly do: "kill" | "kill-half-made" | "cut" | "join" | "runtime-away" | "runtime-back" | "registry-away" }
  | { readonly do: "fail"; readonly call: RuntimeCall; readonly done: boolean }
  | { readonly do: "network-fails"; readonly call: "open" | "detach" | "setEndpoints" }
  | { readonly do: "disk-fails" }
  | { readonly do: "wait"; readonly ms: number }
  | { readonly do: "turn"; readonly turns: number };

const index = fc.nat(20);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("assign" as const),
      behaviour: fc.constantFrom<Behaviour>("run", "run", "deaf", "exit", "fail", "sick"),
      desired: fc.constantFrom("RUNNING" as const, "RUNNING" as const, "READY" as const),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("desire" as const),
      task: index,
      state: fc.constantFrom("RUNNING" as const, "SHUTDOWN" as const, "REMOVE" as const),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("remove" as const), task: index }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom("exit" as const, "lose" as const, "oom" as const), task: index }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom(
        "kill",
        "kill",
        "kill-half-made",
        "cut",
        "join",
        "runtime-away",
        "runtime-back",
        "registry-away",
      ),
    }) as fc.Arbitrary<Step>,
  },
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

function play(process: FakeProcess, starts: Map<string, number>): void {
  const { id, args = [] } = process.container;
  const [behaviour] = args;
  if (process.exec !== undefined) {
    process.exit(behaviour === "sick" ? 1 : 0);
    return;
  }
  starts.set(id, (starts.get(id) ?? 0) + 1);
  if (behaviour === "deaf") process.onSignal(() => undefined);
  if (behaviour === "exit") process.exit(0);
  if (behaviour === "fail") process.exit(3);
}

function assigned(id: string, slot: number, behaviour: Behaviour, desired: TaskState): AssignedTask {
  const probed = behaviour === "sick" || slot % 3 === 0;
  return task(id, {
    slot,
    desiredState: desired,
    spec: {
      container: {
        args: [behaviour],
        ...(probed && {
          healthCheck: { probe: { $case: "exec", value: { command: ["check"] } }, intervalMs: 1_000, retries: 2 },
        }),
      },
    },
  });
}

/** `blamed`: tasks that have a reason to fail; `lost`: those of which the runtime lost the container. */
async function apply(world: World, step: Step, made: string[], blamed: Set<string>, lost: Set<string>): Promise<void> {
  const { manager, machine } = world;
  switch (step.do) {
    case "assign": {
      const id = `t${made.length}`;
      made.push(id);
      if (step.behaviour !== "run" && step.behaviour !== "deaf") blamed.add(id);
      manager.assign(assigned(id, made.length, step.behaviour, TaskState[step.desired]));
      return;
    }
    case "desire": {
      const id = made[step.task % made.length];
      if (id !== undefined && (manager.tasks.get(id)?.desiredState ?? 0) < TaskState[step.state])
        manager.desire(id, TaskState[step.state]);
      return;
    }
    case "remove": {
      const id = made[step.task % made.length];
      if (id !== undefined) manager.remove(id);
      return;
    }
    case "exit":
    case "lose":
    case "oom": {
      const id = made[step.task % made.length] ?? "";
      if (machine.containers.get(id)?.state.kind !== "running") return;
      blamed.add(id);
      if (step.do === "exit") machine.exit(id, 1);
      else if (step.do === "oom") machine.outOfMemory(id);
      else {
        machine.lose(id);
        lost.add(id);
      }
      return;
    }
    case "kill":
      world.kill();
      await world.start();
      return;
    case "kill-half-made":
      world.kill();
      for (const [id, { state }] of machine.containers) if (state.kind === "created") machine.lose(id);
      await world.start();
      return;
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

/** Whether all is as the manager asked, and nothing else is there. */
function problems(world: World): string[] {
  const { manager, machine, network, disk } = world;
  const found: string[] = [];
  const expectThat = (holds: boolean, what: string): void => void (holds || found.push(what));
  const balanced = network.serving("svc");
  for (const [id, { desiredState }] of manager.tasks) {
    const status = manager.statuses.get(id);
    const state = status?.state ?? TaskState.UNSPECIFIED;
    const container = machine.containers.get(id)?.state.kind;
    const attachment = network.attached.get(id);
    const ended = state > TaskState.RUNNING;
    if (ended) {
      expectThat(attachment === undefined, `${id} has ended and is attached`);
      // Of one that the runtime lost after it had told of its end, the end is known.
      const known = container === "exited" || (container === "unknown" && status?.container?.exitCode !== undefined);
      expectThat(container === undefined || known, `${id} has ended and is ${container}`);
      expectThat(desiredState < TaskState.REMOVE || container === undefined, `${id} is to be removed, and is there`);
      continue;
    }
    expectThat(desiredState <= TaskState.RUNNING, `${id} is in ${state} and should have ended`);
    expectThat(
      state === (desiredState === TaskState.READY ? TaskState.READY : TaskState.RUNNING),
      `${id} is in ${state}`,
    );
    expectThat(container === (desiredState === TaskState.READY ? "created" : "running"), `${id} is ${container}`);
    expectThat(attachment !== undefined, `${id} is not attached`);
    const uses = balanced.filter((address) => address === attachment?.address).length;
    expectThat(uses === (state === TaskState.RUNNING ? 1 : 0), `${id} is balanced ${uses} times in ${state}`);
  }
  const running = [...manager.tasks.keys()].filter((id) => world.state(id) === TaskState.RUNNING).length;
  expectThat(balanced.length === running, `${balanced.length} balanced, ${running} running`);
  for (const id of machine.containers.keys()) expectThat(manager.tasks.has(id), `container ${id} is an orphan`);
  for (const id of network.attached.keys()) expectThat(manager.tasks.has(id), `attachment ${id} is an orphan`);
  for (const key of disk.entries.keys())
    expectThat(!key.startsWith("task/") || manager.tasks.has(key.split("/")[1] ?? ""), `${key} is an orphan`);
  return found;
}

test("whatever is assigned and whatever is killed, the end is what was asked for, and nothing runs twice", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), fc.nat(), async (steps, seed) => {
      await using world = new World({}, seed);
      const starts = new Map<string, number>();
      world.machine.program = (process) => play(process, starts);
      const made: string[] = [];
      await world.start();
      const blamed = new Set<string>();
      const lost = new Set<string>();
      for (const each of steps) await apply(world, each, made, blamed, lost);
      world.manager.reconnect();
      world.machine.reconnect();
      let last: string[] = [];
      await world
        .until("the end is what was asked for", () => {
          last = problems(world);
          return last.length === 0;
        })
        .catch((error: unknown) => {
          throw new Error(`${String(error)}: ${last.join("; ")}`);
        });
      // Of a container that is lost just when a killed worker had started it nobody knows that it ran.
      expect([...starts].filter(([id, count]) => count > 1 && !lost.has(id))).toEqual([]);
      // What no task did, no kill and no lost answer did to it.
      const harmed = [...world.manager.statuses].filter(
        ([id, { code }]) => !blamed.has(id) && code !== "" && code !== "RUNTIME_REGISTRY_UNREACHABLE",
      );
      expect(harmed).toEqual([]);
      expect(world.network.overlaps).toBe(0);
      const failures = world.log.records.filter(({ event }) => event === "background work failed");
      expect(failures).toEqual([]);
    }),
    { numRuns: Number(process.env["WARREN_AGENT_RUNS"] ?? 300) },
  );
}, 120_000);
