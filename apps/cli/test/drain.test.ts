import { Node, NodeSpec_Availability, NodeStatus_State, Task, TaskState } from "@warren/api";
import { expect, test } from "vitest";
import { drainText } from "../src/commands/node.ts";

const node = (
  id: string,
  state: NodeStatus_State,
  availability: NodeSpec_Availability = NodeSpec_Availability.ACTIVE,
): Node =>
  Node.fromPartial({
    meta: { id },
    description: { hostname: `edge-${id}` },
    status: { state },
    spec: { availability },
  });
const task = (state: TaskState): Task => Task.fromPartial({ current: true, status: { state } });
const drained = node("1", NodeStatus_State.READY, NodeSpec_Availability.DRAIN);
const two = [task(TaskState.RUNNING), task(TaskState.RUNNING), task(TaskState.FAILED)];

test.for([
  ["no task", [], [], "edge-1 is drained: it has no tasks and gets none"],
  [
    "nobody else",
    [],
    two,
    "edge-1 gets no new tasks, but its 2 tasks have nowhere to go and keep running: no other node is ready; back with 'warren node activate edge-1'",
  ],
  [
    "others that take none",
    [node("2", NodeStatus_State.DOWN), node("3", NodeStatus_State.READY, NodeSpec_Availability.PAUSE)],
    two.slice(1),
    "edge-1 gets no new tasks, but its 1 task has nowhere to go and keeps running: no other node is ready; back with 'warren node activate edge-1'",
  ],
  [
    "one that takes them",
    [node("2", NodeStatus_State.READY)],
    two,
    "edge-1 gets no new tasks; its 2 tasks move: 'warren task list --node edge-1'",
  ],
] as const)("what is said of a drained node with %s", ([, others, tasks, text]) => {
  expect(drainText("1", [drained, ...others], tasks)).toBe(text);
});
