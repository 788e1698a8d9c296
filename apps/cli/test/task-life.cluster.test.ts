/** The life of a task: restarts, health, ends of all kinds, draining, updates; told as they happen. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { slotKeyText } from "@warren/api/model";
import { until } from "@warren/std/testing";
import { fetchText, keepAsking } from "./caller.ts";
import { Machine } from "./machine.ts";

let machine: Machine;
let image: string;
beforeAll(async () => {
  machine = await Machine.start();
  image = await machine.push("life/base:1", { config: { Cmd: ["sleep", "1000000"] } });
}, 120_000);
afterAll(() => machine[Symbol.asyncDispose](), 120_000);

const fast = ["--restart-delay", "100ms"];

test("a service is scaled up, down and to zero, and deleted", async () => {
  await machine.ok("service", "create", "scaled", "--image", image, "--stop-signal", "KILL", "--replicas", "2");
  const first = (await machine.running("scaled")).map(({ meta }) => meta?.id);
  await machine.ok("service", "scale", "scaled=5");
  expect((await machine.running("scaled")).map(({ slot }) => slotKeyText(slot))).toEqual(["1", "2", "3", "4", "5"]);
  await machine.ok("service", "scale", "scaled=2");
  expect((await machine.running("scaled")).map(({ meta }) => meta?.id)).toEqual(first);
  await machine.ok("service", "scale", "scaled=0");
  expect(await machine.live("scaled")).toEqual([]);
  await machine.ok("service", "delete", "scaled");
  expect((await machine.warren("service", "inspect", "scaled")).stderr).toContain("scaled");
});

test("a task that ends is restarted as its policy says, with code and reason kept in the slot's history", async () => {
  await machine.ok(
    "service",
    "create",
    "ends",
    "--image",
    image,
    "--detach",
    ...fast,
    "--restart-condition",
    "on-failure",
    "--restart-max-attempts",
    "2",
    "--",
    "sh",
    "-c",
    "exit 3",
  );
  await until(
    "it has given up",
    async () => {
      const { tasks } = await machine.client.tasks.list({ services: ["ends"] });
      return tasks.length === 3 && tasks.every(({ status }) => status?.container?.exitCode === 3);
    },
    30_000,
  );
  expect(await machine.ok("why", "ends")).toContain("exit code 3");
  await machine.ok(
    "service",
    "create",
    "done",
    "--image",
    image,
    "--detach",
    ...fast,
    "--restart-condition",
    "on-failure",
    "--",
    "true",
  );
  await until(
    "it is complete",
    async () => (await machine.ok("service", "tasks", "done")).includes("complete"),
    30_000,
  );
});

test("a task that the kernel ends for want of memory is told as such", async () => {
  const eat = "x=a; while :; do x=$x$x; done";
  await machine.ok(
    "service",
    "create",
    "oom",
    "--image",
    image,
    "--detach",
    "--restart-condition",
    "none",
    "--limit-memory",
    "8m",
    "--",
    "sh",
    "-c",
    eat,
  );
  await until(
    "it is told",
    async () => {
      const { tasks } = await machine.client.tasks.list({ services: ["oom"] });
      return tasks.some(({ status }) => status?.container?.oomKilled === true);
    },
    60_000,
  );
  expect(await machine.ok("why", "oom")).toMatch(/memory/);
});

test.for([
  [
    "http",
    ["--health-http", "80/"],
    "mkdir /www; touch /www/index.html; httpd -p 80 -h /www; sleep 100000",
    "rm /www/index.html",
  ],
  ["tcp", ["--health-tcp", "81"], "httpd -f -p 81 & echo $! >/pid; sleep 100000", "kill $(cat /pid)"],
  ["cmd", ["--health-cmd", "test ! -e /sick"], "sleep 100000", "touch /sick"],
] as const)(
  "a task that its %s probe finds unhealthy leaves the balancer and is replaced",
  async ([kind, probe, script, harm]) => {
    const name = `sick-${kind}`;
    const timing = ["--health-interval", "200ms", "--health-retries", "2", "--health-start-period", "5s"];
    await machine.ok(
      "service",
      "create",
      name,
      "--image",
      image,
      ...fast,
      "--stop-signal",
      "KILL",
      ...probe,
      ...timing,
      "--",
      "sh",
      "-c",
      script,
    );
    const [before] = await machine.running(name);
    await machine.ok("task", "exec", `${name}.1`, "--", "sh", "-c", harm);
    await until(
      "another runs",
      async () => {
        const [now] = await machine.running(name);
        return now !== undefined && now.meta?.id !== before?.meta?.id;
      },
      30_000,
    );
    expect(await machine.ok("service", "tasks", name)).toMatch(/unhealthy/);
  },
);

test("a task that is told to stop leaves the balancer first: not one request of many is lost", async () => {
  const serve =
    "trap 'sleep 1; exit 0' TERM; mkdir /www; echo ok >/www/index.html; httpd -p 80 -h /www; while :; do sleep 0.1; done";
  await machine.ok(
    "service",
    "create",
    "drains",
    "--image",
    image,
    "--replicas",
    "3",
    "-p",
    "0:80",
    "--health-http",
    "80/",
    "--health-interval",
    "200ms",
    "--",
    "sh",
    "-c",
    serve,
  );
  const port = (await machine.client.services.get({ ref: "drains" })).endpoint?.ports[0]?.published ?? 0;
  const caller = keepAsking(() => fetchText(`http://127.0.0.1:${port}/`));
  for (const replicas of [1, 3, 1]) {
    const before = caller.answers.length;
    await machine.ok("service", "scale", `drains=${replicas}`);
    await until("it is asked on", () => caller.answers.length > before + 20);
  }
  await caller.stop();
  expect(caller.failures).toEqual([]);
  expect(new Set(caller.answers)).toEqual(new Set(["ok\n"]));
});

test("an update replaces tasks one by one without losing a request, and a rollback returns", async () => {
  const serve = (text: string): string =>
    `trap 'sleep 0.5; exit 0' TERM; mkdir /www; echo ${text} >/www/index.html; httpd -p 80 -h /www; while :; do sleep 0.1; done`;
  const health = ["--health-http", "80/", "--health-interval", "200ms"];
  const update = [
    "--update-monitor",
    "200ms",
    "--update-order",
    "start-first",
    "--rollback-monitor",
    "200ms",
    "--rollback-order",
    "start-first",
  ];
  await machine.ok(
    "service",
    "create",
    "rolls",
    "--image",
    image,
    "--replicas",
    "3",
    "-p",
    "0:80",
    ...health,
    ...update,
    "--",
    "sh",
    "-c",
    serve("one"),
  );
  const port = (await machine.client.services.get({ ref: "rolls" })).endpoint?.ports[0]?.published ?? 0;
  const url = `http://127.0.0.1:${port}/`;
  // It does once it has run for the monitor, and `create` is done as soon as it is healthy.
  await until("its first version counts as completed", async () => {
    const { completedVersionIds } = await machine.client.services.get({ ref: "rolls" });
    return completedVersionIds.length > 0;
  });
  const caller = keepAsking(() => fetchText(url));
  await machine.ok("service", "update", "rolls", "--", "sh", "-c", serve("two"));
  await machine.ok("service", "rollback", "rolls");
  await caller.stop();
  expect(caller.failures).toEqual([]);
  expect(new Set(caller.answers)).toEqual(new Set(["one\n", "two\n"]));
  expect(caller.answers.at(-1)).toBe("one\n");
});

test("an image that can't be had is told in tasks and why, and tried again until it can", async () => {
  const name = image.replace("life/base:1", "late/app:1");
  await machine.ok("service", "create", "late", "--image", name, "--detach", ...fast);
  await until("it is told", async () => (await machine.ok("service", "tasks", "late")).includes("rejected"), 30_000);
  expect(await machine.ok("why", "late")).toContain("late/app:1");
  await machine.push("late/app:1", { config: { Cmd: ["sleep", "1000000"] } });
  await until("it runs", async () => (await machine.running("late")).length === 1, 60_000);
});

test("a task that waits for a node says which filter refuses and what would help", async () => {
  await machine.ok(
    "service",
    "create",
    "waits",
    "--image",
    image,
    "--detach",
    "--constraint",
    "node.labels.zone == north",
  );
  const why = await until(
    "it is told",
    async () => {
      const text = await machine.ok("why", "waits");
      return text.includes("excluded by constraints") && text;
    },
    20_000,
  );
  expect(why).toContain('fails "node.labels.zone == north"');
  expect(why).toContain("warren node update --label");
  const node = (await machine.ok("node", "list", "-o", "name")).trim();
  await machine.ok("node", "update", node, "--label", "zone=north");
  await until("it runs", async () => (await machine.running("waits")).length === 1, 20_000);
});

test("a drained node's task runs on while no other node takes it, says why, and stays when the node is active again", async () => {
  await machine.ok("service", "create", "drained", "--image", image, "--stop-signal", "KILL");
  const [before] = await machine.running("drained");
  const node = (await machine.ok("node", "list", "-o", "name")).trim();
  await machine.ok("node", "drain", node);
  const waiting = await until(
    "another waits for a node",
    async () => {
      const { tasks } = await machine.client.tasks.list({ services: ["drained"] });
      return tasks.find(({ status }) => status?.pending !== undefined);
    },
    30_000,
  );
  expect(waiting.meta?.id).not.toBe(before?.meta?.id);
  expect(await machine.ok("why", "drained")).toContain("drained");
  expect((await machine.running("drained")).map(({ meta }) => meta?.id)).toEqual([before?.meta?.id]);
  await machine.ok("node", "activate", node);
  await until(
    "nothing waits any more",
    async () => {
      const { tasks } = await machine.client.tasks.list({ services: ["drained"] });
      return tasks.length === 1 && tasks[0]?.meta?.id === before?.meta?.id;
    },
    30_000,
  );
  expect((await machine.running("drained")).map(({ meta }) => meta?.id)).toEqual([before?.meta?.id]);
});
