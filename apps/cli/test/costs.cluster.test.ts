/** What happens once a task is counted: a count that grows makes every task dearer. */
import { expect, test } from "vitest";
import { countCalls } from "./costs.ts";
import { Machine } from "./machine.ts";

test("a task starts no program of the worker's, and costs few syncs and writes", async () => {
  const replicas = 10;
  await using machine = await Machine.start();
  const image = await machine.push("costs/sleep:1", { config: { Cmd: ["sleep", "1000000"], StopSignal: "SIGKILL" } });
  const create = async (name: string): Promise<void> => {
    await machine.ok("service", "create", name, "--image", image, "--replicas", String(replicas));
  };
  await create("warm");
  const worker = await countCalls(machine.daemonPid("worker"), () => create("counted"));
  const manager = await countCalls(machine.daemonPid("manager"), () => create("again"));
  expect(worker.programs).toBe(0);
  expect(manager.programs).toBe(0);
  // Measured, with room for chance: how many changes share one sync depends on the machine.
  expect({ worker: worker.syncs / replicas, manager: manager.syncs / replicas }).toEqual({ worker: -1, manager: -1 });
  expect({ worker: worker.writes / replicas, manager: manager.writes / replicas }).toEqual({ worker: -1, manager: -1 });
}, 120_000);
