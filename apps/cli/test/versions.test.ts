/** What `service history`, `diff` and `update --dry-run` say. */
import { Change, Service, Task, TaskSpec, TaskState, UpdatePlan, Version, type ServiceVersion } from "@warren/api";
import { toJson } from "@warren/api/json";
import { numberedSlot } from "@warren/api/model";
import { expect, test } from "vitest";
import { historyColumns } from "../src/commands/service-versions.ts";
import { table } from "../src/output.ts";
import { nothingObserved, observe } from "../src/service/convergence.ts";
import { serving } from "../src/service/serving.ts";
import { planLines } from "../src/service/update-plan.ts";
import { changeLine, changesText, versionChanges } from "../src/service/version-changes.ts";

type SomeTask = Parameters<typeof TaskSpec.fromPartial>[0];
const taskJson = (task: TaskSpec): unknown => toJson(TaskSpec, task);
const version = (number: number, task: SomeTask, imageDigest = ""): Version =>
  Version.fromPartial({ number, task, imageDigest, meta: { createdAt: new Date(0) } });
const lines = (before: Version, after: Version): string[] => versionChanges(before, after, taskJson).map(changeLine);

test("each difference is named by the flag that sets it, with its value as a flag would have it", () => {
  const before = version(1, {
    container: {
      image: "nginx:1",
      env: { LEVEL: "info", OLD: "1" },
      mounts: [{ target: "/data", source: { $case: "volume", value: { name: "data" } } }],
      stopGraceMs: 10_000,
    },
  });
  const after = version(2, {
    container: { image: "nginx:2", env: { LEVEL: "debug", NEW: "2" }, stopGraceMs: 90_000 },
    resources: { memoryLimitBytes: 268_435_456, cpuLimitNanos: 500_000_000 },
    placement: { constraints: ["node.labels.zone == north"] },
  });
  expect(lines(before, after).toSorted((a, b) => (a < b ? -1 : 1))).toEqual([
    "+ --constraint: node.labels.zone == north",
    "+ --env NEW: 2",
    "+ --limit-cpu: 0.5",
    "+ --limit-memory: 256 MiB",
    "- --env OLD: 1",
    "- --mount /data target: /data",
    "- --mount /data volume name: data",
    "~ --env LEVEL: info -> debug",
    "~ --image: nginx:1 -> nginx:2",
    "~ --stop-grace: 10s -> 90s",
  ]);
});

test("a restart, and the same tag of another build, are named as such", () => {
  const one = version(1, { container: { image: "nginx" } }, "sha256:a");
  expect(
    changesText(
      versionChanges(one, version(2, { container: { image: "nginx" }, forceUpdate: 1 }, "sha256:a"), taskJson),
    ),
  ).toBe("restart");
  expect(lines(one, version(2, { container: { image: "nginx" } }, "sha256:b"))).toEqual([
    "~ digest of the image: sha256:a -> sha256:b",
  ]);
});

test("the history has a line for each version, with what changed since the one before", () => {
  const row = (version: Version, more: Partial<ServiceVersion>): ServiceVersion => ({
    version,
    wanted: false,
    completed: false,
    running: 0,
    ...more,
  });
  const versions = [
    row(version(3, { container: { image: "nginx:2" }, forceUpdate: 1 }), { wanted: true, running: 1 }),
    row(version(2, { container: { image: "nginx:2" } }), { completed: true, running: 2 }),
    row(version(1, { container: { image: "nginx:1" } }), { completed: true }),
  ];
  const columns = historyColumns(versions, taskJson, 60_000).filter(({ wide = false }) => !wide);
  expect(table(versions, columns)).toBe(
    [
      "VERSION  CREATED  RUNNING  STATUS                  IMAGE    CHANGED",
      "3        1m ago   1        current, not completed  nginx:2  restart",
      "2        1m ago   2        completed               nginx:2  --image: nginx:1 -> nginx:2",
      "1        1m ago            completed               nginx:1  created",
    ].join("\n"),
  );
});

test("a plan says what is replaced, how, and how long it takes at least", () => {
  const slots = (...numbers: number[]) => numbers.map(numberedSlot);
  const plan = UpdatePlan.fromPartial({
    versionNumber: 4,
    imageDigest: "sha256:a",
    replaced: slots(1, 2),
    added: slots(3),
    kept: 1,
    settings: { parallelism: 1, monitorMs: 5_000 },
    batches: 2,
    leastMs: 10_000,
  });
  expect(planLines("web", plan)).toEqual([
    "web: version 4 (nothing is changed: this is a dry run)",
    "  2 tasks are replaced: web.1, web.2",
    "  1 task is added: web.3",
    "  1 task stays as it is",
    "  how: 1 at a time, in 2 batches; each old task stops before its new one starts",
    "  how long: at least 10s, as new tasks are watched for 5s; pulling, stopping and starting come on top",
    "  if a new task fails: the update pauses",
    "  image: sha256:a",
  ]);
});

test("a service serves once as many tasks run as it wants, of whichever version", () => {
  const observed = nothingObserved();
  expect(serving(observed)).toMatchObject({ kind: "waiting" });
  const change = (object: NonNullable<Change["object"]>): void =>
    void observe(observed, { message: { $case: "change", value: Change.fromPartial({ object }) } });
  const spec = { name: "web", mode: { $case: "replicated", value: { replicas: 2 } } } as const;
  change({ $case: "service", value: Service.fromPartial({ spec }) });
  observe(observed, { message: { $case: "synced", value: 1 } });
  const task = (id: string, slotId = id): void => {
    const fields = { meta: { id }, slotId, current: true, desiredState: TaskState.RUNNING };
    change({ $case: "task", value: Task.fromPartial({ ...fields, status: { state: TaskState.RUNNING } }) });
  };
  task("a");
  expect(serving(observed)).toEqual({ kind: "waiting", text: "web: 1 of 2 tasks running" });
  task("b", "a");
  expect(serving(observed).kind).toBe("waiting");
  task("c");
  expect(serving(observed)).toEqual({ kind: "converged", text: "web: 2 of 2 tasks running" });
});
