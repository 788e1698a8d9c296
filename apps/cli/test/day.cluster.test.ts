/** A day's work: restarts, versions, waits; what nodes have. */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "@warren/std/testing";
import { fetchText } from "./caller.ts";
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

test("volumes are listed with what uses them, and deleted once nothing does", async () => {
  const mount = [
    "--mount",
    "type=volume,src=data,dst=/data",
    "--",
    "sh",
    "-c",
    "echo kept > /data/x; exec sleep 1000000",
  ];
  await machine.ok("service", "create", "db", "--image", image, ...quick, ...mount);
  const node = (await machine.ok("node", "ls", "-q")).trim();
  expect(await machine.ok("volume", "ls")).toMatch(
    new RegExp(`^NAME +NODE +AGE +USED BY\ndata +${node} +\\d+s +db\n$`),
  );
  expect(await machine.ok("volume", "ls", "--columns", "name,used by")).toBe("NAME  USED BY\ndata  db\n");
  const path = join(machine.dataDir, "worker/volumes/data");
  expect(JSON.parse(await machine.ok("volume", "inspect", "data", "-o", "json"))).toMatchObject({
    volumes: [{ name: "data", path, services: ["db"] }],
  });
  expect(await readFile(join(path, "x"), "utf8")).toBe("kept\n");
  const used = await machine.warren("volume", "rm", "data");
  expect(used.code).toBe(1);
  expect(used.stderr).toContain('volume "data" is mounted by tasks of db; delete the service');
  await machine.ok("service", "delete", "db");
  await until(
    "nothing uses it",
    async () => (await machine.ok("volume", "ls", "--columns", "USED BY")).trim() === "USED BY",
  );
  expect(await machine.ok("volume", "rm", "data", "--node", node)).toBe("data\n");
  expect(await machine.ok("volume", "ls", "-q")).toBe("");
  expect((await machine.warren("volume", "inspect", "data")).stderr).toContain('there is no volume "data"');
  expect((await machine.warren("volume", "rm", "data")).stderr).toContain('there is no volume "data"');
}, 60_000);

test("images are listed with their size and what uses them; those that nothing uses go at once", async () => {
  const other = await machine.push("day-other:1", {
    config: { Cmd: ["sleep", "1000000"], StopSignal: "SIGKILL", Env: ["OTHER=1"] },
  });
  await machine.ok("service", "create", "one", "--image", image, ...quick);
  await machine.ok("service", "create", "two", "--image", other, "--label", "x=y", ...quick);
  const list = await machine.ok("images", "-o", "wide");
  expect(list).toMatch(/day:1.* [\d.]+ MiB +one .* sha256:[0-9a-f]{64}$/m);
  expect(list).toMatch(/day-other:1.* two /);
  await machine.ok("service", "delete", "two");
  await until("its image is used by none", async () => !(await machine.ok("images")).includes("two"));
  // Its task's log is kept, and with it the image.
  expect((await machine.warren("image", "prune")).stderr).toBe("0 images removed\n");
  expect(await machine.ok("images")).toContain("day-other:1");
  await machine.ok("service", "delete", "one");
}, 60_000);

test("a watched list is shown again at a change", async () => {
  const child = machine.spawn("service", "ls", "--watch", "--columns", "NAME,STATUS");
  let stdout = "";
  child.stdout?.on("data", (data: Buffer) => (stdout += data.toString()));
  await until("it is shown", () => stdout.includes("STATUS"), 20_000);
  expect(stdout).not.toContain("seen");
  await machine.ok("service", "create", "seen", "--image", image, ...quick);
  await until("the change is shown", () => /seen +running/.test(stdout), 20_000);
  child.kill("SIGINT");
  const [code] = (await once(child, "close")) as [number];
  expect(code).toBe(0);
  await machine.ok("service", "delete", "seen");
}, 60_000);

test("run shows what a task prints, ends with its exit code, and leaves nothing with --rm", async () => {
  const done = await machine.warren(
    "run",
    "--rm",
    "-e",
    "WHO=me",
    image,
    "sh",
    "-c",
    "echo hello $WHO; echo oops >&2; exit 7",
  );
  expect(done).toMatchObject({ code: 7, stdout: "hello me\n" });
  expect(done.stderr).toContain("oops\n");
  expect(await machine.ok("service", "ls", "-q")).toBe("");

  const kept = await machine.warren("run", "--name", "once", image, "echo", "kept");
  expect(kept).toMatchObject({ code: 0, stdout: "kept\n" });
  expect(await machine.ok("logs", "once")).toContain("kept");
  await machine.ok("service", "delete", "once");

  const missing = await machine.warren("run", "--rm", `${image}-nix`, "true");
  expect(missing.code).toBe(125);
  expect(missing.stderr).toMatch(/^error: run-[0-9a-f]{8} rejected: /m);
  const refused = await machine.warren("run", "--restart-condition", "any", image);
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("not started again") as string });

  const child = machine.spawn("run", "--rm", "--name", "long", image, "sh", "-c", "echo begun; sleep 1000000");
  let stdout = "";
  child.stdout?.on("data", (data: Buffer) => (stdout += data.toString()));
  await until("it prints", () => stdout === "begun\n", 20_000);
  child.kill("SIGINT");
  expect((await once(child, "close"))[0]).toBe(130);
  expect(await machine.ok("service", "ls", "-q")).toBe("");
}, 90_000);

test("a port of a task is reached from here, on its own loopback, published or not", async () => {
  // On loopback alone, which no packet from outside the container reaches.
  const serve = "mkdir /www; echo hello > /www/index.html; exec httpd -f -p 127.0.0.1:80 -h /www";
  await machine.ok("service", "create", "page", "--image", image, ...quick, "--", "sh", "-c", serve);
  const child = machine.spawn("port-forward", "page", ":80");
  let [stdout, stderr] = ["", ""];
  child.stdout?.on("data", (data: Buffer) => (stdout += data.toString()));
  child.stderr?.on("data", (data: Buffer) => (stderr += data.toString()));
  await until("it listens", () => stdout.includes("->"), 20_000);
  expect(stderr).toBe("in page.1\n");
  const [, port] = /^127\.0\.0\.1:(\d+) -> 80 -> page\.1\n$/.exec(stdout) ?? [];
  const pages = await Promise.all([1, 2, 3].map(() => fetchText(`http://127.0.0.1:${port}/`)));
  expect(pages).toEqual(["hello\n", "hello\n", "hello\n"]);
  child.kill("SIGINT");
  expect((await once(child, "close"))[0]).toBe(0);

  const closed = machine.spawn("port-forward", "page.1", ":81");
  let [opened, said] = ["", ""];
  closed.stdout?.on("data", (data: Buffer) => (opened += data.toString()));
  closed.stderr?.on("data", (data: Buffer) => (said += data.toString()));
  await until("it listens", () => opened.includes("->"), 20_000);
  await expect(fetchText(`http://127.0.0.1:${/:(\d+) /.exec(opened)?.[1]}/`)).rejects.toThrow();
  await until("it is said", () => said.includes("nothing listens on port 81 of the task"), 20_000);
  closed.kill("SIGTERM");
  await once(closed, "close");
  await machine.ok("service", "delete", "page");
}, 60_000);
