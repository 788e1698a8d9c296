/** When a command says that it is done, it is; what people see of tasks that end, and of those that are gone. */
import { once } from "node:events";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until, type Finished } from "@warren/std/testing";
import { Machine } from "./machine.ts";

let machine: Machine;
let image: string;
beforeAll(async () => {
  machine = await Machine.start();
  image = await machine.push("done:1", { config: { Cmd: ["sleep", "1000000"], StopSignal: "SIGKILL" } });
}, 120_000);
afterAll(() => machine[Symbol.asyncDispose](), 120_000);

const sh = (script: string): string[] => ["--", "sh", "-c", script];
const create = (name: string, ...rest: string[]): Promise<Finished> =>
  machine.warren("service", "create", name, "--image", image, ...rest);

test("a container that ends at once, whatever its code, is no success: its last lines are shown once, and the wait ends", async () => {
  for (const [name, code] of [
    ["crash", 3],
    ["leave", 0],
  ] as const) {
    const { code: exit, stderr } = await create(name, "--restart-delay", "200ms", ...sh(`echo boom; exit ${code}`));
    expect(exit).toBe(1);
    expect(stderr).toContain(`${name}.1 ended with exit code ${code}; it wrote last:\n  boom\n`);
    expect(stderr.match(/boom/g)).toHaveLength(1);
    expect(stderr).toContain(`3 times in a row, and is tried again; 'warren why ${name}' shows more`);
    await machine.ok("service", "delete", name);
  }
});

test("one that ends after a second has not been done before the monitor", async () => {
  const begin = performance.now();
  const { code, stderr } = await create("short", "--restart-delay", "200ms", ...sh("sleep 1; exit 1"));
  expect(code).toBe(1);
  expect(stderr).toContain("short: 1 of 1 task running; watching for 5s");
  expect(performance.now() - begin).toBeGreaterThan(3_000);
  expect(await machine.ok("service", "list")).toMatch(/short .*(crash-looping \d+ ×|starting 0\/1|running)/);
  await machine.ok("service", "delete", "short");
});

test("a program that is to end is done with its end, and has failed with its failure", async () => {
  const done = await create("job", "--restart-condition", "none", "--replicas", "2", ...sh("echo worked"));
  expect(done).toMatchObject({ code: 0, stderr: expect.stringContaining("job: 2 of 2 tasks completed") as string });
  expect(await machine.ok("service", "list")).toMatch(/job .* completed /);
  expect(await machine.ok("why", "job")).toContain("has completed: 2 of 2 tasks ended with code 0");
  const failed = await create("bad", "--restart-condition", "none", ...sh("exit 4"));
  expect(failed.code).toBe(1);
  expect(failed.stderr).toContain("bad.1 ended with exit code 4 and is not started again");
  for (const name of ["job", "bad"]) await machine.ok("service", "delete", name);
});

test("the log of a service that is deleted can be read, by its name, its slot and its task's id", async () => {
  await machine.ok("service", "create", "gone", "--image", image, ...sh("echo 'last words'; sleep 1000000"));
  const id = (await machine.ok("service", "tasks", "gone", "-o", "name")).trim();
  await machine.ok("service", "delete", "gone");
  await until("it is forgotten", async () => (await machine.warren("service", "tasks", "gone")).code !== 0);
  for (const ref of ["gone", "gone.1", id]) expect(await machine.ok("logs", ref)).toContain("last words");
  expect((await machine.warren("logs", "never-was")).stderr).toContain('there is no service or task "never-was"');
});

test("exec of a service takes a task that runs and says which; its command's flags are its own", async () => {
  await machine.ok("service", "create", "box", "--image", image, "--replicas", "2");
  const { code, stdout, stderr } = await machine.warren("exec", "box", "ls", "-d", "/etc");
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "/etc\n", stderr: "in box.1\n" });
  await machine.ok("service", "scale", "box=0");
  expect((await machine.warren("exec", "box", "ls")).stderr).toContain("no task of box runs");
  await machine.ok("service", "delete", "box");
});

test("draining the only node says that its tasks have nowhere to go", async () => {
  await machine.ok("service", "create", "stays", "--image", image);
  const node = (await machine.ok("node", "ls", "-o", "name")).trim();
  const { code, stderr } = await machine.warren("node", "drain", node);
  expect(code).toBe(0);
  expect(stderr).toMatch(/its 1 task has nowhere to go and keeps running: no other node is ready/);
  expect(await machine.running("stays")).toHaveLength(1);
  await machine.ok("node", "activate", node);
  await machine.ok("service", "delete", "stays");
});

test("a wait that is given up says what goes on", async () => {
  const child = machine.spawn("service", "create", "wait", "--image", image, "--reserve-memory", "1024g");
  let stderr = "";
  child.stderr?.on("data", (data: Buffer) => (stderr += data.toString()));
  await until("it waits", () => stderr.includes("wait.1 waits: "), 20_000);
  child.kill("SIGINT");
  const [code] = (await once(child, "close")) as [number];
  expect(code).toBe(1);
  expect(stderr).toMatch(/still in progress: see 'warren service tasks wait'\n$/);
  expect(stderr).not.toContain("cancelled");
  expect(await machine.ok("service", "list")).toMatch(/wait .* waits: memory /);
  await machine.ok("service", "delete", "wait");
});
