import { Node, NodeSpec_Availability, NodeStatus_State, Task, TaskState } from "@warren/api";
import { numberedSlot } from "@warren/api/model";
import { expect, test } from "vitest";
import { drained, drainPlan, DrainWatch, stayText } from "../src/drain.ts";

const node = (
  id: string,
  state: NodeStatus_State = NodeStatus_State.READY,
  availability: NodeSpec_Availability = NodeSpec_Availability.ACTIVE,
): Node =>
  Node.fromPartial({
    meta: { id },
    description: { hostname: `edge-${id}` },
    status: { state },
    spec: { availability },
  });
const task = (slot: number, nodeId: string, state: TaskState, epoch: number = 1, volume: string = ""): Task =>
  Task.fromPartial({
    meta: { id: `${slot}-${epoch}` },
    serviceName: "web",
    slotId: `s.${slot}`,
    slot: numberedSlot(slot),
    epoch: { reign: 1, index: epoch },
    nodeId,
    current: true,
    status: { state, ...(state === TaskState.PENDING && { pending: { nodes: 2 } }) },
    spec: {
      container: { mounts: volume === "" ? [] : [{ source: { $case: "volume", value: { name: volume } } }] },
    },
  });
const alone = drained("1", [
  node("1"),
  node("2", NodeStatus_State.DOWN),
  node("3", undefined, NodeSpec_Availability.PAUSE),
]);
const withOther = drained("1", [node("1"), node("2")]);
const two = [task(1, "1", TaskState.RUNNING, 1, "data"), task(2, "1", TaskState.RUNNING)];

/** A watch that has sent these tasks. */
function watching(of: typeof alone, before: readonly Task[], now: readonly Task[]): DrainWatch {
  const watch = new DrainWatch(of, before);
  for (const value of now)
    watch.observe({
      message: { $case: "change", value: { version: 1, deleted: false, object: { $case: "task", value } } },
    });
  expect(watch.isSynced).toBe(false);
  watch.observe({ message: { $case: "synced", value: 1 } });
  return watch;
}

test("with no other node its tasks have nowhere to go, which is known at once; so it is of a node without tasks", () => {
  expect(watching(alone, two, two).progress).toEqual({
    kind: "done",
    text: "edge-1 gets no new tasks, but its 2 tasks have nowhere to go and keep running: no other node is ready; back with 'warren node activate edge-1'",
  });
  expect(watching(alone, [], []).progress.text).toBe("edge-1 is drained: it has no tasks and gets none");
});

test("tasks move one after the other, and those that no node takes are named", () => {
  const [first, second] = two as [Task, Task];
  const gone = { ...first, current: false, status: Task.fromPartial({ status: { state: TaskState.SHUTDOWN } }).status };
  const elsewhere = task(1, "2", TaskState.RUNNING, 2);
  expect(watching(withOther, two, two).progress).toEqual({ kind: "moving", text: "edge-1: 0 of 2 tasks have moved" });
  const half = [gone, elsewhere, second];
  expect(watching(withOther, two, half).progress).toEqual({ kind: "moving", text: "edge-1: 1 of 2 tasks has moved" });
  const stuck = [...half, task(2, "", TaskState.PENDING, 2)];
  expect(watching(withOther, two, stuck).progress).toEqual({
    kind: "done",
    text: "edge-1 gets no new tasks, but 1 of its 2 tasks has nowhere to go and keeps running: web.2; 'warren why web.2' says why; back with 'warren node activate edge-1'",
  });
  const moved = [gone, elsewhere, task(2, "2", TaskState.RUNNING, 2)];
  expect(watching(withOther, two, moved).progress.text).toBe("edge-1 is drained: its 2 tasks have moved");
});

test("a dry run says which tasks would go where, and that volumes would not", () => {
  expect(drainPlan(withOther, two)).toBe(
    "edge-1 would get no new tasks; its 2 tasks would move to edge-2, where they fit:\n  web.1\n  web.2\nvolumes stay on edge-1, a task elsewhere begins with empty ones: web.1 data",
  );
  expect(drainPlan(alone, two)).toContain("would have nowhere to go and keep running: no other node is ready");
  expect(drainPlan(withOther, [])).toBe("edge-1 has no tasks, and would get none");
  expect(stayText(withOther, two.slice(1))).toEqual([]);
});
