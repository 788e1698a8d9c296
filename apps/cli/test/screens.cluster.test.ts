/** What people see on a terminal: progress, why, logs, logins, and what ends. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createServer as createTcpServer } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { pushImage, startRegistry } from "@warren/runtime-containerd/testing";
import { until, type Finished } from "@warren/std/testing";
import { Machine } from "./machine.ts";
import { Terminal } from "./terminal.ts";

let machine: Machine;
let image: string;
let node: string;
beforeAll(async () => {
  machine = await Machine.start();
  image = await machine.push("screens:1", { config: { Cmd: ["sleep", "1000000"], StopSignal: "SIGKILL" } });
  node = (await machine.ok("node", "list", "-o", "name")).trim();
}, 120_000);
afterAll(() => machine[Symbol.asyncDispose](), 120_000);

const sh = (script: string): string[] => ["--", "sh", "-c", script];
const create = (name: string, ...rest: string[]): Promise<Finished> =>
  machine.warren("service", "create", name, "--image", image, "--update-monitor", "0", ...rest);
const terminal = (columns: number, ...args: string[]): Terminal =>
  new Terminal([process.execPath, machine.program, ...args], { columns, env: machine.env });
const longest = (lines: readonly string[]): number => Math.max(...lines.map(({ length }) => length));

/** A registry behind this gives its layers slowly. */
async function slowly(host: string): Promise<{ readonly server: Server; readonly host: string }> {
  const server = createServer((incoming, outgoing) => {
    const { url = "", headers } = incoming;
    const onward = request(`http://${host}${url}`, { headers: { ...headers, host } }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
      void (async () => {
        for await (const chunk of answer as AsyncIterable<Buffer>) {
          outgoing.write(chunk);
          if (chunk.length > 10_000) await pause(chunk.length / 1_000);
        }
        outgoing.end();
      })();
    });
    onward.end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, host: `127.0.0.1:${(server.address() as AddressInfo).port}` };
}

test("while a service is created there is a row for each slot, with how much is pulled, and at the end how long it took", async () => {
  await using registry = await startRegistry();
  const noise = Array.from({ length: 180_000 }, () => Math.random()).join("");
  const name = await pushImage(registry, "big:1", {
    config: { Cmd: ["sleep", "1000000"], StopSignal: "SIGKILL" },
    files: { noise },
  });
  const slow = await slowly(registry.host);
  try {
    const from = name.replace(registry.host, slow.host);
    const screen = terminal(
      80,
      "service",
      "create",
      "big",
      "--image",
      from,
      "--replicas",
      "2",
      "--update-monitor",
      "0",
    );
    expect(await screen.end()).toBe(0);
    const { lines } = screen;
    expect(lines).toContainEqual(expect.stringMatching(/^ {2}big\.1 {2}pulling \d+\/\d+ [kM]B$/));
    expect(lines).toContainEqual(expect.stringMatching(/^big: 0 of 2 tasks running {2}\d+s$/));
    expect(lines.filter((line) => /^big: 2 of 2 tasks running, after \d+s$/.test(line))).toHaveLength(1);
    expect(longest(lines)).toBeLessThanOrEqual(80);
  } finally {
    slow.server.close();
  }
  await machine.ok("service", "delete", "big");
}, 120_000);

test("while one task takes the place of another, its row says how long the old one may take to stop", async () => {
  await create(
    "slow",
    "--stop-grace",
    "4s",
    "--stop-signal",
    "TERM",
    ...sh("trap '' TERM; while :; do sleep 0.1; done"),
  );
  const screen = terminal(80, "service", "update", "slow", "--env", "A=1");
  expect(await screen.end()).toBe(0);
  expect(screen.lines).toContainEqual(expect.stringMatching(/^ {2}slow\.1 {2}stopping the old one: [1-4]s of 4s$/));
  const gone = terminal(80, "service", "delete", "slow");
  expect(await gone.end()).toBe(0);
  expect(gone.lines).toContainEqual(expect.stringMatching(/^ {2}slow\.1 {2}stopping: \ds of 4s$/));
}, 60_000);

test.each([80, 140])(
  "why of a service that crashes fits %i columns, and its command can be pasted",
  async (columns) => {
    await create("crash", "--restart-delay", "100ms", ...sh("echo 'the disk is on fire' >&2; exit 3"));
    const screen = terminal(columns, "why", "crash");
    expect(await screen.end()).toBe(0);
    const { lines } = screen;
    expect(longest(lines)).toBeLessThanOrEqual(columns);
    expect(lines[0]).toMatch(/^service crash runs 0 of 1/);
    expect(lines).toContain("crash.1 wrote last:");
    expect(lines).toContain("  the disk is on fire");
    const commands = lines.filter((line) => line.startsWith("  warren "));
    expect(commands).toHaveLength(1);
    expect(await machine.ok(...(commands[0] ?? "").trim().split(" ").slice(1))).toBe("");
    const all = await machine.ok("why", "crash", "--all");
    expect(all.match(/^crash\.1, .*exit code 3/gm)?.length, all).toBeGreaterThan(2);
    await machine.ok("service", "delete", "crash");
  },
  60_000,
);

test("why follows a service, and explains a node, a network, and a published port that the node uses itself", async () => {
  const taken = createTcpServer();
  taken.listen(8_321, "0.0.0.0");
  await once(taken, "listening");
  const made = await create("taken", "-p", "8321:80", "--network", "default");
  expect(made.code).toBe(0);
  expect(made.stderr).toContain(
    "warning: port 8321/tcp of service taken is not published: a program of the node listens",
  );
  expect(made.stderr).toContain("\n  ss -lntp 'sport = :8321'\n");
  expect(await machine.ok("why", ":8321")).toMatch(
    /^port 8321\/tcp leads to port 80 of service taken, which [^]*ss -lntp/,
  );
  expect(await machine.ok("why", node)).toMatch(/is ready and takes tasks; 1 of its 1 task runs[^]*port 8321\/tcp/);
  expect(await machine.ok("why", "default")).toBe("network default connects 1 service: taken\n");
  const unused = await machine.warren("why", "8399");
  expect(unused).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("no service publishes port 8399") as string,
  });
  expect((await machine.warren("why", "nothing")).stderr).toContain(
    'there is no service, task, node or network "nothing"',
  );
  const following = machine.spawn("why", "taken", "--follow");
  let seen = "";
  following.stdout?.on("data", (data: Buffer) => (seen += data.toString()));
  await until("it begins", () => seen.includes("runs as asked for: 1 of 1"), 20_000);
  taken.close();
  await machine.ok("service", "scale", "taken=0");
  await until("it goes on", () => seen.includes("service taken is scaled to zero"), 20_000);
  following.kill("SIGINT");
  expect(await once(following, "close")).toEqual([0, null]);
  await machine.ok("service", "delete", "taken");
}, 60_000);

test("logs are of the current task, of those before it, or of all, which say whose they are", async () => {
  await create("log", ...sh("echo first; sleep 1000000"));
  await machine.ok("service", "update", "log", "--update-monitor", "0", ...sh("echo second; sleep 1000000"));
  const [task] = await machine.running("log");
  await until("it has written", async () => (await machine.ok("logs", "log")) === "log.1 | second\n");
  for (const ref of ["log", "log.1"]) expect(await machine.ok("logs", ref, "--previous", "--no-names")).toBe("first\n");
  const all = await machine.ok("logs", "log", "--all");
  expect(all).toMatch(/^log\.1 [0-9a-z]{12} \| first\nlog\.1 [0-9a-z]{12} \| second\n$/);
  expect(all).toContain((task?.meta?.id ?? "").slice(0, 12));
  expect((await machine.warren("logs", "log", "-f", "--previous")).code).toBe(2);
  const screen = terminal(80, "logs", "log");
  expect(await screen.end()).toBe(0);
  await machine.ok("service", "delete", "log");
}, 60_000);

test("the log of a silent task that is gone is empty, and of a deleted service it is found by the service's id", async () => {
  await create("silent", "--replicas", "1");
  await create("spoke", ...sh("echo 'last words'; sleep 1000000"));
  const silent = (await machine.ok("service", "tasks", "silent", "-o", "name")).trim();
  const { meta } = JSON.parse(await machine.ok("service", "inspect", "spoke", "-o", "json")) as {
    meta: { id: string };
  };
  await machine.ok("service", "delete", "silent", "spoke");
  await until("it is forgotten", async () => (await machine.warren("task", "inspect", silent)).code !== 0, 20_000);
  expect(await machine.ok("task", "logs", silent)).toBe("");
  expect(await machine.ok("service", "logs", meta.id)).toBe("spoke.1 | last words\n");
}, 60_000);

test("a login is asked for on a terminal, and what is typed is not shown", async () => {
  await using locked = await startRegistry({ username: "me", password: "s3cret" });
  const screen = terminal(80, "registry", "login", locked.host);
  await until("it asks who", () => screen.lines.some((line) => line.startsWith("User name at")), 20_000);
  screen.type("me\r");
  await until("it asks for the password", () => screen.lines.some((line) => line.includes("Password of me")), 20_000);
  screen.type("s3cret\r");
  expect(await screen.end()).toBe(0);
  expect(screen.lines).toContain(`${locked.host} accepted the login; it is stored for every node`);
  expect(screen.lines.join("\n")).not.toContain("s3cret");
  const empty = terminal(80, "registry", "login", locked.host, "-u", "me");
  await until("it asks for the password", () => empty.lines.some((line) => line.includes("Password of me")), 20_000);
  empty.type("\r");
  expect(await empty.end()).toBe(2);
  expect(empty.lines).toContain("error: the password is empty: nothing was stored");
  expect((await machine.pipe("", "registry", "login", locked.host)).stderr).toContain("--username is required");
  await machine.ok("registry", "logout", locked.host);
}, 60_000);

test("tasks that wait for a login are tried again as soon as there is one", async () => {
  await using locked = await startRegistry({ username: "me", password: "s3cret" });
  const hidden = await pushImage(locked, "hidden:1", { config: { Cmd: ["sleep", "1000000"], StopSignal: "SIGKILL" } });
  await machine.ok("service", "create", "hidden", "--image", hidden, "--detach", "--restart-delay", "10m");
  await until("it is refused", async () => (await machine.ok("service", "list")).includes("registry login"), 30_000);
  expect(await machine.pipe("s3cret", "registry", "login", locked.host, "-u", "me", "--password-stdin")).toMatchObject({
    code: 0,
  });
  await until("it runs", async () => (await machine.running("hidden")).length === 1, 20_000);
  await machine.ok("service", "delete", "hidden");
  await machine.ok("registry", "logout", locked.host);
}, 90_000);

test("deleting several reports each, also where one is not there, and a dry run changes nothing", async () => {
  await create("one", "--mount", "src=data,dst=/data", "-p", "8322:80");
  await create("two");
  const plan = await machine.ok("service", "delete", "one", "two", "--dry-run");
  expect(plan).toBe(
    "one: 1 task would stop, port 8322 would be free; volumes would stay: one.1 data\ntwo: 1 task would stop\n",
  );
  const { code, stderr } = await machine.warren("service", "delete", "one", "none", "two");
  expect(code).toBe(1);
  for (const text of [
    "one: deleted",
    'none: there is no service "none"',
    "two: deleted",
    "volumes stay where the tasks",
  ])
    expect(stderr).toContain(text);
  expect(stderr).toContain("error: 1 of 3 could not be deleted\n");
  await machine.ok("network", "create", "a");
  const networks = await machine.warren("network", "delete", "a", "b");
  expect(networks.code).toBe(1);
  expect(networks.stderr).toMatch(/^a: deleted\nerror: b: there is no network "b"[^]*1 of 2 could not be deleted\n$/);
}, 60_000);

test("draining and leaving say beforehand what they would do", async () => {
  await create("stays", "--mount", "src=kept,dst=/kept");
  const drain = await machine.ok("node", "drain", node, "--dry-run");
  expect(drain).toContain(`${node} would get no new tasks; its 1 task would have nowhere to go`);
  expect(drain).toContain(`volumes stay on ${node}`);
  expect(await machine.ok("node", "list")).toContain(" active ");
  const folders = ["--data-dir", machine.dataDir, "--run-dir", machine.runDir];
  const leave = await machine.ok("cluster", "leave", "--dry-run", ...folders);
  expect(leave).toContain("the cluster would end, with its 1 service and 1 running task\n");
  expect(leave).toMatch(/volumes? stays? in .*worker\/volumes: .*kept/);
  expect(await machine.running("stays")).toHaveLength(1);
  await machine.ok("service", "delete", "stays");
}, 60_000);

test("what comes first on stdout can be used by a shell", async () => {
  const made = await create("piped");
  expect(made.stdout).toMatch(/^[0-9a-z]{25}\n$/);
  const [stdout] = await new Promise<[string]>((resolve, reject) =>
    execFile(
      process.execPath,
      [machine.program, "service", "delete", made.stdout.trim()],
      { env: machine.env },
      (error, out) => (error === null ? resolve([out]) : reject(error)),
    ),
  );
  expect(stdout).toBe("");
}, 60_000);
