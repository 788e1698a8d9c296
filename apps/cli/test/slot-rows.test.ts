import { Task, TaskState } from "@warren/api";
import { numberedSlot } from "@warren/api/model";
import { expect, test } from "vitest";
import { nothingObserved, observe, type Observed } from "../src/service/convergence.ts";
import { frameText, pullText, slotRows, type Frame } from "../src/service/slot-rows.ts";

type Fields = Parameters<typeof Task.fromPartial>[0];

const task = (slot: number, state: TaskState, partial: Fields = {}): Task =>
  Task.fromPartial({
    serviceName: "web",
    slotId: `s.${slot}`,
    slot: numberedSlot(slot),
    upToDate: true,
    current: true,
    desiredState: TaskState.RUNNING,
    epoch: { reign: 1, index: 2 },
    ...partial,
    meta: { id: `${slot}-${state}-${partial.upToDate}` },
    status: { state, ...partial.status },
  });
const old = (slot: number, partial: Fields = {}): Task =>
  task(slot, TaskState.RUNNING, { upToDate: false, epoch: { reign: 1, index: 1 }, ...partial });
function observed(tasks: readonly Task[], now: number): Observed {
  const seen = nothingObserved();
  for (const value of tasks)
    observe(
      seen,
      { message: { $case: "change", value: { version: 1, deleted: false, object: { $case: "task", value } } } },
      now,
    );
  return seen;
}

const update = observed(
  [
    task(1, TaskState.RUNNING),
    old(2),
    task(2, TaskState.PREPARING, {
      status: { message: "pulling a", pull: { doneBytes: 12_400_000, totalBytes: 40e6 } },
    }),
    old(3, { desiredState: TaskState.SHUTDOWN, spec: { container: { stopGraceMs: 20_000 } } }),
    task(3, TaskState.READY, { status: { message: "ready to start" } }),
    old(4),
    task(5, TaskState.PENDING, { status: { message: `short of memory: ${"needs a lot of it, ".repeat(4)}and more` } }),
    task(6, TaskState.STARTING, {
      spec: { container: { healthCheck: { probe: { $case: "tcp", value: { port: 80 } } } } },
      status: { container: { startedAt: new Date(0) } },
    }),
  ],
  1_000,
);

test("a slot's row says what it is at: how much is pulled, how long the old one may take to stop, whether it is healthy", () => {
  expect(slotRows(update, 6, 8_000).map(({ name, text, done }) => [name, text.slice(0, 30), done])).toEqual([
    ["web.1", "running", true],
    ["web.2", "pulling 12/40 MB", false],
    ["web.3", "stopping the old one: 7s of 20", false],
    ["web.4", "not updated yet: the old one r", false],
    ["web.5", "short of memory: needs a lot o", false],
    ["web.6", "started, not healthy yet", false],
  ]);
});

test("of a service that is deleted only what still stops has a row", () => {
  const seen = observed(
    [task(1, TaskState.RUNNING, { desiredState: TaskState.SHUTDOWN }), task(2, TaskState.SHUTDOWN)],
    0,
  );
  expect(slotRows(seen, 0, 25_000)).toEqual([{ name: "web.1", text: "stopping: 10s of 10s", done: false }]);
});

const frame: Frame = {
  text: "web: 1 of 6 updated; the old 3 keep running",
  rows: slotRows(update, 6, 8_000),
  elapsedMs: 62_000,
};

test.each([80, 140])("a frame fits %i columns, with the time that has gone", (columns) => {
  const lines = frameText(frame, { columns, rows: 24 }).split("\n");
  expect(lines).toHaveLength(7);
  expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(columns);
  expect(lines[0]).toBe("web: 1 of 6 updated; the old 3 keep running  1m");
  expect(lines[2]).toBe("  web.2  pulling 12/40 MB");
  expect(lines[5]?.endsWith("…")).toBe(columns === 80);
});

test("where the rows do not fit, what is not done comes first, and the others are counted", () => {
  const lines = frameText(frame, { columns: 80, rows: 7 }).split("\n");
  expect(lines.slice(1).map((line) => line.trim().split(" ")[0])).toEqual(["web.2", "web.3", "web.4", "…"]);
  expect(lines.at(-1)).toBe("  … and 3 more");
});

test.each([
  [1_500, 900_000, "1/900 kB"],
  [0, 5_400_000, "0/5 MB"],
  [3_000_000_000, 12_000_000_000, "3/12 GB"],
])("%i of %i bytes are %s", (doneBytes, totalBytes, text) => {
  expect(pullText({ doneBytes, totalBytes })).toBe(text);
});
