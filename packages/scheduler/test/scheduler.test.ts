import { readFile } from "node:fs/promises";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Decision, type Delta, type NodeState, Scheduler, SchedulerError, type TaskState } from "../src/index.ts";

const GiB = 2 ** 30;
const make = (id: string, more: Partial<NodeState> = {}): NodeState => ({
  id,
  role: "worker",
  ready: true,
  active: true,
  ...more,
});
const task = (id: string, more: Partial<TaskState> = {}): TaskState => ({
  id,
  serviceId: "web",
  specVersion: 1,
  ...more,
});

function world(nodes: readonly NodeState[], tasks: readonly TaskState[], seed = 0): Scheduler {
  const scheduler = new Scheduler({ seed });
  for (const node of nodes) scheduler.apply({ kind: "node", node });
  for (const each of tasks) scheduler.apply({ kind: "task", task: each });
  return scheduler;
}

const nodeOf = (decision: Decision | undefined): string | undefined =>
  decision?.kind === "placed" ? decision.nodeId : undefined;

describe("filters", () => {
  const refused: [string, Partial<NodeState>, Partial<TaskState>, string][] = [
    ["ready", { ready: false }, {}, "1 of 1 node not ready or not active: n is down"],
    ["ready", { active: false }, {}, "1 of 1 node not ready or not active: n is paused or drained"],
    [
      "constraints",
      {},
      { constraints: ["node.labels.gpu exists"] },
      '1 of 1 node do not meet the constraints: nearest is n, which fails "node.labels.gpu exists"',
    ],
    [
      "platform",
      { platform: { os: "linux", arch: "aarch64" } },
      { platforms: [{ os: "linux", arch: "amd64" }] },
      "1 of 1 node can't run the image: it is for linux/amd64, n is linux/aarch64",
    ],
    [
      "resources",
      { resources: { cpu: 5e8 } },
      { reservations: { cpu: 1e9 } },
      "1 of 1 node short of cpu: needs 1 CPU, most free is 0.5 CPU on n",
    ],
    ["resources", {}, { reservations: { gpu: 1 } }, "1 of 1 node short of gpu: needs 1, most free is 0 on n"],
  ];
  it.each(refused)("%s refuses %j for %j and says why", (filter, node, asks, text) => {
    const [decision] = world([make("n", node)], [task("t", asks)]).schedule();
    expect(decision).toMatchObject({ kind: "waiting", text, refusals: [{ filter, nodes: 1, nearestNodeId: "n" }] });
  });

  it("names the nearest miss in its own units", () => {
    const nodes = [
      make("a", { resources: { memory: GiB / 4 } }),
      make("b", { hostname: "edge-3", resources: { memory: GiB / 2 } }),
      make("c", { ready: false }),
    ];
    const [decision] = world(nodes, [task("t", { reservations: { memory: GiB } })]).schedule();
    expect(decision).toMatchObject({
      text: "2 of 3 nodes short of memory: needs 1 GiB, most free is 512 MiB on edge-3; 1 of 3 nodes not ready or not active: c is down",
    });
  });

  it("a host port is held once a node, by protocol", () => {
    const tcp = { hostPorts: [{ port: 80, protocol: "tcp" as const }] };
    const udp = { hostPorts: [{ port: 80, protocol: "udp" as const }] };
    const decisions = world(
      [make("n")],
      [task("a", tcp), task("b", tcp), task("c", { ...udp, serviceId: "x" })],
    ).schedule();
    expect(decisions.map(nodeOf)).toEqual(["n", undefined, "n"]);
    expect(decisions[1]).toMatchObject({ text: "1 of 1 node have a host port in use: 80/tcp on n" });
  });

  it("at most N of a service stand on a node", () => {
    const decisions = world(
      [make("n"), make("m")],
      ["a", "b", "c"].map((id) => task(id, { maxPerNode: 1 })),
    ).schedule();
    expect(decisions.map((each) => each.kind)).toEqual(["placed", "placed", "waiting"]);
  });
});

describe("the scheduler", () => {
  it("says so where there are no nodes", () => {
    expect(world([], [task("t")]).schedule()).toMatchObject([{ kind: "waiting", text: "there are no nodes" }]);
  });

  it("puts the service's own tasks before load", () => {
    const held = ["x", "y"].map((id) => task(id, { serviceId: "other", nodeId: "busy" }));
    const decisions = world(
      [make("busy"), make("idle")],
      [...held, task("w", { nodeId: "idle" }), task("t")],
    ).schedule();
    expect(decisions.map(nodeOf)).toEqual(["busy"]);
  });

  it("asks a waiting task again when room is made, and not before", () => {
    const one = { reservations: { memory: GiB } };
    const scheduler = world([make("n", { resources: { memory: GiB } })], [task("a", one), task("b", one)]);
    expect(scheduler.schedule().map((each) => each.kind)).toEqual(["placed", "waiting"]);
    scheduler.apply({ kind: "task", task: task("a", { ...one, nodeId: "n" }) });
    expect(scheduler.schedule()).toEqual([]);
    scheduler.apply({ kind: "task-gone", taskId: "a" });
    expect(scheduler.schedule().map(nodeOf)).toEqual(["n"]);
  });

  it("counts tasks whose node is told of later", () => {
    const scheduler = world([make("m")], [task("a", { nodeId: "n" }), task("t")]);
    scheduler.apply({ kind: "node", node: make("n") });
    expect(scheduler.schedule().map(nodeOf)).toEqual(["m"]);
  });

  it("refuses a task that can't be read, and is as it was", () => {
    const scheduler = world([make("n")], []);
    expect(() => scheduler.apply({ kind: "task", task: task("t", { reservations: { cpu: -1 } }) })).toThrow(
      SchedulerError,
    );
    expect(() => scheduler.apply({ kind: "task", task: task("t", { constraints: ["?"] }) })).toThrow(SchedulerError);
    expect(scheduler.schedule()).toEqual([]);
  });

  it("README's first example prints what it says", async () => {
    const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
    const [, code = "", output = ""] = /```ts\n([^]*?)```\s+prints\s+```\n([^]*?)```/.exec(readme) ?? [];
    const lines: string[] = [];
    const body = code.replace(/^import .*\n/, "");
    // eslint-disable-next-line typescript/no-implied-eval
    new Function("Scheduler", "console", body)(Scheduler, { log: (line: string) => lines.push(line) });
    expect(lines.length).toBeGreaterThan(0);
    expect(`${lines.join("\n")}\n`).toBe(output);
  });
});

const ids = ["a", "b", "c", "d", "e"];
const anyNode = fc.record({
  id: fc.constantFrom(...ids),
  role: fc.constant("worker" as const),
  ready: fc.boolean(),
  active: fc.constant(true),
  labels: fc.record({ zone: fc.constantFrom("x", "y") }),
  resources: fc.record({ memory: fc.integer({ min: 0, max: 8 }) }),
});
/** What a service asks for follows from its name, as the group's invariant has it. */
const needs: Record<string, Partial<TaskState>> = {
  free: {},
  big: { reservations: { memory: 3 } },
  zoned: { constraints: ["node.labels.zone == x"], reservations: { memory: 1 } },
  port: { hostPorts: [{ port: 80, protocol: "tcp" }] },
  two: { maxPerNode: 2 },
};
const anyPending = fc
  .record({ n: fc.integer({ min: 0, max: 40 }), serviceId: fc.constantFrom(...Object.keys(needs)) })
  .map(({ n, serviceId }) => task(`${serviceId}${n}`, { serviceId, ...needs[serviceId] }));

/** The same rules, said again without the scheduler's code. */
function fits(node: NodeState, asks: TaskState, held: readonly TaskState[]): boolean {
  const memory = held.reduce((sum, each) => sum + (each.reservations?.memory ?? 0), 0);
  const own = held.filter((each) => each.serviceId === asks.serviceId).length;
  return (
    node.ready &&
    ((asks.reservations?.memory ?? 0) === 0 ||
      memory + (asks.reservations?.memory ?? 0) <= (node.resources?.memory ?? 0)) &&
    (asks.serviceId !== "zoned" || node.labels?.zone === "x") &&
    (asks.serviceId !== "port" || own === 0) &&
    (asks.serviceId !== "two" || own < 2)
  );
}

describe("properties", () => {
  it("every placement passes each filter and is the best by (own tasks, load); what waits fits nowhere", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(anyNode, { selector: (each) => each.id }),
        fc.uniqueArray(anyPending, { selector: (each) => each.id, maxLength: 60 }),
        (nodes, tasks) => {
          const held = new Map(nodes.map((node) => [node.id, [] as TaskState[]]));
          const byTask = new Map(tasks.map((each) => [each.id, each]));
          const decisions = world(nodes, tasks).schedule();
          expect(decisions.length).toBe(tasks.length);
          for (const decision of decisions) {
            const asks = byTask.get(decision.taskId) as TaskState;
            const open = nodes.filter((node) => fits(node, asks, held.get(node.id) ?? []));
            if (decision.kind === "waiting") {
              expect(open).toEqual([]);
              continue;
            }
            const cost = (id: string): number => {
              const there = held.get(id) ?? [];
              return there.filter((each) => each.serviceId === asks.serviceId).length * 1000 + there.length;
            };
            expect(open.map((node) => node.id)).toContain(decision.nodeId);
            expect(cost(decision.nodeId)).toBe(Math.min(...open.map((node) => cost(node.id))));
            held.get(decision.nodeId)?.push(asks);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it("the order of arrival within a batch changes nothing", () => {
    const shuffled = fc
      .array(anyPending)
      .chain((tasks) => fc.tuple(fc.constant(tasks), fc.shuffledSubarray(tasks, { minLength: tasks.length })));
    fc.assert(
      fc.property(fc.uniqueArray(anyNode, { selector: (each) => each.id }), shuffled, (nodes, [tasks, other]) => {
        expect(world(nodes.toReversed(), other).schedule()).toEqual(world(nodes, tasks).schedule());
      }),
    );
  });

  it("a long history of deltas decides as a scheduler built anew from where it ended", () => {
    const anyDelta: fc.Arbitrary<Delta> = fc.oneof(
      anyNode.map((node): Delta => ({ kind: "node", node })),
      fc.constantFrom(...ids).map((nodeId): Delta => ({ kind: "node-gone", nodeId })),
      anyPending.map((each): Delta => ({ kind: "task", task: each })),
      fc
        .tuple(anyPending, fc.constantFrom(...ids))
        .map(([each, nodeId]): Delta => ({ kind: "task", task: { ...each, nodeId } })),
      anyPending.map((each): Delta => ({ kind: "task-gone", taskId: each.id })),
    );
    fc.assert(
      fc.property(fc.array(anyDelta, { maxLength: 300, size: "max" }), fc.nat(10), (deltas, every) => {
        const scheduler = new Scheduler({ seed: 7 });
        const nodes = new Map<string, NodeState>();
        const tasks = new Map<string, TaskState>();
        for (const [index, delta] of deltas.entries()) {
          scheduler.apply(delta);
          if (delta.kind === "node") nodes.set(delta.node.id, delta.node);
          else if (delta.kind === "node-gone") nodes.delete(delta.nodeId);
          else if (delta.kind === "task") tasks.set(delta.task.id, delta.task);
          else tasks.delete(delta.taskId);
          if (index % (every + 1) !== 0) continue;
          for (const decision of scheduler.schedule()) {
            const asks = tasks.get(decision.taskId) as TaskState;
            if (decision.kind === "placed") tasks.set(asks.id, { ...asks, nodeId: decision.nodeId });
          }
        }
        // A change to a node asks every waiting task again, in both.
        const last: Delta = { kind: "node", node: make("last") };
        scheduler.apply(last);
        const anew = world([...nodes.values()], [...tasks.values()], 7);
        anew.apply(last);
        expect(scheduler.schedule()).toEqual(anew.schedule());
      }),
      { numRuns: 200 },
    );
  });
});
