import { TaskState } from "@warren/api";
import { expect, test } from "vitest";
import { image, task, World } from "./fakes/world.ts";

test("an assigned task goes through all states to RUNNING, is attached and balanced", async () => {
  await using world = new World();
  await world.start();
  world.manager.assign(task("t1"));
  await world.untilState("t1", TaskState.RUNNING);
  const status = world.manager.statuses.get("t1");
  expect(status?.message).toBe("running");
  expect(status?.container).toMatchObject({
    containerId: "t1",
    pid: 1000,
    address: "10.77.1.2",
    imageDigest: world.machine.publish(image).digest,
  });
  expect(status?.container?.startedAt).toBeInstanceOf(Date);
  expect(world.network.attached.get("t1")).toMatchObject({ networks: ["net"], netnsPath: "/run/fake/t1/netns" });
  expect(world.network.serving("svc")).toEqual(["10.77.1.2"]);
  const told = world.manager.told.get("t1") ?? [];
  expect(told).toEqual([...told].sort((a, b) => a - b));
  expect(world.manager.description).toMatchObject({
    hostname: "edge-1",
    os: "linux",
    architecture: "amd64",
    cpuNanos: 4e9,
    runtime: "fake 1",
    version: "1",
  });
});
