import { Service, Task } from "@warren/api";
import { numberedSlot } from "@warren/api/model";
import { expect, test } from "vitest";
import { leavePlan } from "../src/commands/cluster.ts";
import { deletionPlan } from "../src/commands/service-change.ts";

test("what would end with a service: its tasks and its ports, not its volumes", () => {
  const service = Service.fromPartial({
    spec: { name: "db" },
    endpoint: { ports: [{ target: 5_432, published: 5_432 }] },
  });
  const task = Task.fromPartial({
    serviceName: "db",
    slot: numberedSlot(1),
    spec: { container: { mounts: [{ source: { $case: "volume", value: { name: "data" } } }] } },
  });
  expect(deletionPlan(service, [task])).toBe(
    "db: 1 task would stop, port 5432 would be free; volumes would stay: db.1 data",
  );
  expect(deletionPlan(Service.fromPartial({ spec: { name: "web" } }), [])).toBe("web: 0 tasks would stop");
});

test("what would go with this machine, and what would stay where", () => {
  const folders = { dataDir: "/var/lib/warren", runDir: "/run/warren" };
  const losses = { volumes: ["data"], counts: { services: 2, tasksRunning: 1 } };
  expect(leavePlan(losses, folders, false).split("\n")).toEqual([
    "the cluster would end, with its 2 services and 1 running task",
    "containers, images, interfaces and rules of Warren would be removed from this machine",
    "1 volume stays in /var/lib/warren/worker/volumes: data",
  ]);
  expect(leavePlan(losses, folders, true)).toContain("volumes would be removed: data");
  expect(leavePlan({ volumes: [], counts: undefined }, folders, false)).toContain("what runs in it is not known");
});
