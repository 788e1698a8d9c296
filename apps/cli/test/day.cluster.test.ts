/** A day's work: restarts, versions, waits. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "@warren/std/testing";
import { Machine } from "./machine.ts";

let machine: Machine;
let image: string;
beforeAll(async () => {
  machine = await Machine.start();
  image = await machine.push("day:1", { config: { Cmd: ["sleep", "1000000"], StopSignal: "SIGKILL" } });
}, 120_000);
afterAll(() => machine[Symbol.asyncDispose](), 120_000);

const quick = ["--update-monitor", "300ms"];
const ids = async (service: string): Promise<string[]> =>
  (await machine.running(service)).map(({ meta }) => meta?.id ?? "");

test("a restart replaces every task one after the other, and is a version that can be gone back from", async () => {
  await machine.ok("service", "create", "web", "--image", image, "--replicas", "2", "--env", "LEVEL=info", ...quick);
  const before = await ids("web");
  const plan = await machine.ok("service", "update", "web", "--force", "--dry-run");
  expect(plan).toContain("2 tasks are replaced: web.1, web.2");
  expect(plan).toContain("in 2 batches");
  expect(plan).toContain("at least 600ms");
  expect(await ids("web")).toEqual(before);
  await machine.ok("restart", "web");
  const after = await ids("web");
  expect(after).toHaveLength(2);
  expect(after.filter((id) => before.includes(id))).toEqual([]);

  await machine.ok("service", "update", "web", "--env", "LEVEL=debug");
  const history = await machine.ok("service", "history", "web");
  expect(history).toMatch(/^3 .* 2 +current, completed .* --env LEVEL: info -> debug$/m);
  expect(history).toMatch(/^2 .* completed .* restart$/m);
  expect(history).toMatch(/^1 .* completed .* created$/m);
  expect(await machine.ok("service", "history", "web", "-o", "name")).toBe("3\n2\n1\n");
  expect(await machine.ok("service", "diff", "web")).toBe("~ --env LEVEL: info -> debug\n");
  expect(JSON.parse(await machine.ok("service", "diff", "web", "--from", "3", "--to", "1", "-o", "json"))).toEqual({
    from: 3,
    to: 1,
    changes: [
      { field: "--env LEVEL", before: "debug", after: "info" },
      { field: "restart", before: "1" },
    ],
  });
  expect((await machine.warren("service", "diff", "web", "--from", "9")).stderr).toContain(
    "keeps no version 9: it keeps 3, 2, 1",
  );
  await machine.ok("service", "rollback", "web", "--to", "1");
  expect(await machine.ok("service", "history", "web")).toMatch(/^1 .* 2 +current, completed /m);
  await machine.ok("service", "delete", "web");
}, 120_000);

test("a plan in JSON, and of what changes nothing of the tasks", async () => {
  await machine.ok("service", "create", "plan", "--image", image, ...quick);
  const json = await machine.ok("service", "update", "plan", "--replicas", "3", "--dry-run", "-o", "json");
  expect(JSON.parse(json)).toMatchObject({ added: [{ number: 2 }, { number: 3 }], kept: 1 });
  expect(await machine.ok("service", "update", "plan", "--label", "a=b", "--dry-run")).toContain(
    "1 task stays as it is",
  );
  const { code, stderr } = await machine.warren("service", "update", "plan", "-o", "json", "--label", "a=b");
  expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining("--dry-run") as string });
  expect(await machine.running("plan")).toHaveLength(1);
  await machine.ok("service", "delete", "plan");
}, 60_000);

test("a wait ends when the tasks run, fails as the update does, and in time", async () => {
  await machine.ok("service", "create", "late", "--image", image, "--replicas", "2", "--detach", ...quick);
  await machine.ok("service", "wait", "late");
  expect(await machine.running("late")).toHaveLength(2);
  await machine.ok("service", "update", "late", "--detach", "--", "sh", "-c", "exit 3");
  const failed = await machine.warren("service", "wait", "late");
  expect({ code: failed.code, stderr: failed.stderr }).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("paused") as string,
  });
  // One of the two was replaced by a task that ends at once.
  const waiting = await machine.warren("service", "wait", "late", "--healthy", "--timeout", "1s");
  expect(waiting).toMatchObject({ code: 1, stderr: expect.stringContaining("not done after 1s") as string });
  await machine.ok("service", "rollback", "late", "--detach");
  await machine.ok("service", "wait", "late", "--healthy");
  await until("both run", async () => (await machine.running("late")).length === 2);
  expect((await machine.warren("service", "wait", "late", "nix")).stderr).toContain('no service "nix"');
  await machine.ok("service", "delete", "late");
}, 120_000);
