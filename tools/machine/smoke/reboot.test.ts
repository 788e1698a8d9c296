/** The machine goes down in order and comes up again, and loses power. */
import { beforeAll, expect, test } from "vitest";
import type { Machine } from "../machine.ts";
import { create, machineAt, tasks, untilRunning } from "./cluster.ts";

let machine: Machine;
beforeAll(async () => {
  machine = await machineAt("cluster");
});

test("a reboot ends tasks by their own grace, counts as no failure, and all run again", async () => {
  // Says when it gets its signal and when it is done; another one ignores its signal.
  const graceful = [
    "sh",
    "-c",
    "trap 'echo got TERM; sleep 2; echo done; exit 3' TERM; echo up; while :; do sleep 1; done",
  ];
  await create(machine, "graceful", "--restart-condition", "none", "--stop-grace", "60s", "--", ...graceful);
  const attempts = ["--restart-condition", "any", "--restart-max-attempts", "1", "--stop-grace", "5s"];
  await create(machine, "stubborn", ...attempts, "--", "sh", "-c", "trap '' TERM; while :; do sleep 1; done");

  const downMs = await machine.reboot();
  expect(downMs).toBeLessThan(240_000);
  const [again] = await untilRunning(machine, "graceful", 1, 4);
  await untilRunning(machine, "stubborn", 1);
  await untilRunning(machine, "web", 2);
  const ended = (await tasks(machine, "graceful")).find(({ id }) => id !== again?.id);
  expect(ended).toMatchObject({
    state: "SHUTDOWN",
    code: "AGENT_MACHINE_STOPPED",
    message: "stopped as its machine went down, with exit code 3",
  });
  expect(await machine.ok(`warren task logs ${ended?.id ?? ""}`)).toMatch(/up\n.*got TERM\n.*done\n/s);
  const killed = (await tasks(machine, "stubborn")).find(({ state }) => state !== "RUNNING");
  expect(killed).toMatchObject({ state: "SHUTDOWN", code: "AGENT_MACHINE_STOPPED" });
  expect(killed?.message).toContain("killed after its grace of 5 s");

  // It went down by itself: no unit had to be killed.
  const journal = await machine.ok("journalctl -b -1 -o cat --no-pager");
  expect(journal).toContain("the machine goes down: tasks end by their own grace");
  expect(journal).toContain("worker ends; its tasks have ended");
  expect(journal).not.toMatch(/warren-\w+\.service: (State '.*' timed out|Killing process)/);
});

test("after losing power all run again, and it is no failure of theirs either", async () => {
  await machine.losePower();
  await untilRunning(machine, "stubborn", 1, 4);
  await untilRunning(machine, "graceful", 1);
  await untilRunning(machine, "web", 2);
  const ended = (await tasks(machine, "stubborn")).filter(({ state }) => state !== "RUNNING");
  expect(ended.map(({ code }) => code).toSorted()).toEqual(["AGENT_MACHINE_RESTARTED", "AGENT_MACHINE_STOPPED"]);
});
