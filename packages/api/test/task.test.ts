import { expect, test } from "vitest";

import { Task, TaskState } from "../src/generated/warren/v1/task.ts";
import { compareTasks, isMeantToRun, newestTask } from "../src/model/index.ts";

const task = (id: string, life: number, run: number, createdAt: number | undefined, startedAt: number): Task =>
  Task.fromPartial({
    meta: { id, createdAt: createdAt === undefined ? undefined : new Date(createdAt) },
    epoch: { reign: 7, index: 1 },
    life,
    run,
    status: { container: { startedAt: new Date(startedAt) } },
  });
const order = (...tasks: readonly Task[]): string =>
  tasks
    .toSorted(compareTasks)
    .map(({ meta }) => meta?.id)
    .join(" ");

test("runs of a lease are ordered by their lives as managers stored them, though the node's clock began anew", () => {
  const [first, second, third] = [task("a", 0, 1, 9_000, 9_000), task("b", 5, 1, 1, 8_000), task("c", 5, 2, 1, 7_000)];
  expect(order(third, second, first)).toBe("a b c");
  const rebooted = task("d", 6, 1, 20_000, 3);
  expect(order(rebooted, third, second)).toBe("b c d");
  expect(newestTask([rebooted, third])?.meta?.id).toBe("d");
  const beingStored = task("e", 7, 1, undefined, 2);
  expect(order(beingStored, rebooted)).toBe("d e");
});

test("runs of different lives that one report brought are ordered by their node's clock", () => {
  expect(order(task("b", 6, 1, 1, 2_000), task("a", 5, 9, 1, 1_000))).toBe("a b");
});

test("of all desired states only READY and RUNNING mean that a task is to run", () => {
  const states = Object.values(TaskState).filter((state): state is TaskState => typeof state === "number");
  expect(states.filter((desiredState) => isMeantToRun({ desiredState }))).toEqual([TaskState.READY, TaskState.RUNNING]);
});
