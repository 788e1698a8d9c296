import { describe, expect, it } from "vitest";
import { type Delta, type NodeState, Scheduler, SchedulerError, type TaskState } from "../src/index.ts";
import { node, places, task, world } from "./world.ts";

const refusal = (scheduler: Scheduler, delta: Delta): SchedulerError => {
  try {
    scheduler.apply(delta);
  } catch (error) {
    expect(error).toBeInstanceOf(SchedulerError);
    return error as SchedulerError;
  }
  throw new Error("it was accepted");
};

describe("an invalid task is refused, and nothing has changed", () => {
  it.each<[string, Partial<TaskState>]>([
    ["publishes the port 70000", { hostPorts: [{ port: 70_000, protocol: "tcp" }] }],
    ["publishes the port 0", { hostPorts: [{ port: 0, protocol: "tcp" }] }],
    ["publishes the port NaN", { hostPorts: [{ port: Number.NaN, protocol: "tcp" }] }],
    ["publishes the port 80.5", { hostPorts: [{ port: 80.5, protocol: "tcp" }] }],
    ['protocol "icmp"', { hostPorts: [{ port: 1, protocol: "icmp" as "tcp" }] }],
    [
      "publishes 80/tcp twice",
      {
        hostPorts: [
          { port: 80, protocol: "tcp" },
          { port: 80, protocol: "tcp" },
        ],
      },
    ],
    ['has "" for its id', { id: "" }],
    ['has "" for its service\'s id', { serviceId: "" }],
    ['has "" for its node\'s id', { nodeId: "" }],
    ["has the version NaN", { specVersion: Number.NaN }],
    ["reserves NaN of memory", { reservations: { memory: Number.NaN } }],
    ["reserves -1 of cpu", { reservations: { cpu: -1 } }],
    ["reserves Infinity of gpu", { reservations: { gpu: Number.POSITIVE_INFINITY } }],
    ["reserves 0.5 of gpu", { reservations: { gpu: 0.5 } }],
    ['resource that is named ""', { reservations: { "": 1 } }],
    ['holds gpu "g0" twice', { nodeId: "n", named: { gpu: ["g0", "g0"] } }],
    ['names "" among its volumes', { volumes: [""] }],
    ['affinity to the service ""', { affinity: [{ kind: "affinity", service: "", topology: "node.id" }] }],
    ["needs the level -1", { level: -1 }],
    ["allows NaN tasks a node", { maxPerNode: Number.NaN }],
    ["has the priority NaN", { priority: Number.NaN }],
    ["is leaving and has no node", { leaving: true }],
  ])("%s", (why, asks) => {
    const scheduler = world([node("n")], []);
    const error = refusal(scheduler, { kind: "task", task: { ...task("t"), ...asks } });
    expect(error.code).toBe("SCHEDULER_TASK_INVALID");
    expect(error.message).toContain(why);
    expect(scheduler.schedule()).toEqual([]);
  });

  it("tasks of one service and version that ask for different things can't be one group", () => {
    const scheduler = world([node("n")], [task("a", { reservations: { memory: 0 } })]);
    const error = refusal(scheduler, { kind: "task", task: task("b", { reservations: { memory: 9 } }) });
    expect(error.message).toBe(
      "task b asks for other reservations than a, of the same service and version: give it another specVersion",
    );
    // A placed task is not in the group, so its requirements may differ; a drain uses them.
    scheduler.apply({ kind: "task", task: task("c", { nodeId: "n", reservations: { cpu: 0 } }) });
    expect(scheduler.drain("n").stuck.map(({ taskId }) => taskId)).toContain("c");
    scheduler.apply({ kind: "task-gone", taskId: "c" });
    // The only task of a group may be replaced, and another version may have other requirements.
    scheduler.apply({ kind: "task", task: task("a", { priority: 3 }) });
    scheduler.apply({ kind: "task", task: task("b", { specVersion: 2, reservations: { memory: 0 } }) });
    expect(places(scheduler.schedule())).toEqual({ a: "n", b: "n" });
  });
});

describe("an invalid node is refused, and nothing has changed", () => {
  it.each<[string, Partial<NodeState>]>([
    ['has "" for its id', { id: "" }],
    ['has the role "king"', { role: "king" as "worker" }],
    ['offers NaN of "memory"', { resources: { memory: Number.NaN } }],
    ['offers -1 of "cpu"', { resources: { cpu: -1 } }],
    ['offers Infinity of "gpu"', { resources: { gpu: Number.POSITIVE_INFINITY } }],
    ['offers gpu "g0" twice', { named: { gpu: ["g0", "g1", "g0"] } }],
    ['effect "no-execute"', { taints: [{ key: "k", effect: "no-execute" as "no-schedule" }] }],
    ["has the level 1.5", { level: 1.5 }],
    ["has -1 addresses", { addresses: -1 }],
  ])("%s", (why, more) => {
    const scheduler = world([], [task("t")]);
    const error = refusal(scheduler, { kind: "node", node: { ...node("n"), ...more } });
    expect(error.code).toBe("SCHEDULER_NODE_INVALID");
    expect(error.message).toContain(why);
    expect(scheduler.schedule()).toMatchObject([{ text: "there are no nodes" }]);
  });
});

it.each([Number.NaN, Number.POSITIVE_INFINITY])("the time %s is refused", (time) => {
  const failure: Delta = { kind: "failure", nodeId: "n", serviceId: "s", specVersion: 1, at: time };
  for (const delta of [failure, { kind: "time", now: time } as const])
    expect(refusal(world([], []), delta).code).toBe("SCHEDULER_TIME_INVALID");
});
