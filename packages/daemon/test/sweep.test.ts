/**
 * A whole daemon's shared parts in a process of their own, whose standard output is a full disk. Every 'error' event of
 * every emitter that they created is injected, and every callback that they take throws. The process must live.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";

const program = `
import { EventEmitter, once } from "node:events";
import { connect } from "node:net";
const emitters = new Set();
// The test's own sockets, and what is Node's whether or not a daemon runs. What was destroyed emits nothing more.
const others = new Set([process, process.stderr]);
for (const method of ["on", "once", "addListener", "prependListener"]) {
  const original = EventEmitter.prototype[method];
  EventEmitter.prototype[method] = function (name, listener) {
    emitters.add(this);
    return original.call(this, name, listener);
  };
}
const { lockDirectory, pinoLogger, prometheusMetrics, startHealthServer, terminationSignal, writePidFile } =
  await import("@warren/daemon");
const { TaskGroup, logFailures } = await import("@warren/std");
const folder = process.argv[1];
const say = (text) => process.stderr.write(text + "\\n");

const prometheus = prometheusMetrics();
const log = pinoLogger({ level: "debug", metrics: prometheus.metrics });
const signal = terminationSignal();
await lockDirectory(folder);
await writePidFile(folder + "/worker.pid", "worker");
let ready = () => undefined;
const server = await startHealthServer(prometheus, () => ready(), { address: "127.0.0.1:0" }, log);
const dial = async () => {
  const socket = connect(Number(server.address.split(":")[1]), "127.0.0.1");
  others.add(socket.on("error", () => undefined));
  await once(socket, "connect");
  return socket;
};
const read = async (path) => {
  const socket = await dial();
  socket.write("GET " + path + " HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n");
  return (await socket.setEncoding("utf8").toArray()).join("");
};
const get = async (path) => Number((await read(path)).split(" ")[1]);

// The log's disk is full: each line fails.
for (let i = 0; i < 200; i++) log.error("x".repeat(20_000));
log.child({ component: "c" }).info("y");
// Callbacks that throw.
ready = () => { throw new Error("notReady threw"); };
if ((await get("/readyz")) !== 500) throw new Error("/readyz did not say so");
const group = new TaskGroup(logFailures(log));
group.run("early", () => { throw new Error("sync"); });
group.run("late", () => Promise.reject(new Error("async")));
new TaskGroup(() => { throw new Error("onFailure threw"); }).run("both", () => Promise.reject(new Error("x")));
// Clients that break off.
for (const text of ["GET /metrics HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n", "nonsense\\r\\n\\r\\n", "GET /"]) {
  const socket = await dial();
  socket.write(text);
  socket.resetAndDestroy();
}
await dial();
await get("/healthz");
// Every 'error' event, twice.
const injected = new Set();
for (const round of [1, 2]) {
  for (const emitter of [...emitters]) {
    if (others.has(emitter) || emitter.destroyed || emitter.constructor.name === "Agent") continue;
    injected.add(emitter.constructor.name);
    emitter.emit("error", Object.assign(new Error("injected"), { code: "EIO" }));
  }
  await new Promise((resolve) => setImmediate(resolve));
}
say("injected " + ["ChildProcess", "Server", "Socket", "SonicBoom"].every((name) => injected.has(name)));
say("healthy " + (await get("/healthz")));
const text = await read("/metrics");
say("counted " + (Number(/^warren_log_failures_total (\\d+)/m.exec(text)?.[1]) > 100));
signal.addEventListener("abort", () => void server.close().then(() => { say("ended"); process.exit(0); }));
say("ready");
`;

test("no listener, log, metric or 'error' event ends a daemon, though its log's disk is full", async () => {
  const folder = await mkdtemp(join(tmpdir(), "warren-sweep-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const full = openSync("/dev/full", "w");
  const flags = ["--conditions=warren-source", "--input-type=module-typescript", "--eval", program, "--", folder];
  const cwd = new URL("..", import.meta.url);
  const child = spawn(process.execPath, flags, { cwd, stdio: ["ignore", full, "pipe"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  closeSync(full);
  const said: string[] = [];
  const ready = Promise.withResolvers<void>();
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    said.push(...text.trim().split("\n"));
    if (said.includes("ready")) ready.resolve();
  });
  const ended = once(child, "close") as Promise<[number | null]>;
  await Promise.race([ready.promise, ended]);
  child.kill("SIGTERM");
  const [code] = await ended;
  const lines = said.filter((line) => !/Warning|--trace-warnings/.test(line));
  expect({ code, lines }).toEqual({
    code: 0,
    lines: ["injected true", "healthy 200", "counted true", "ready", "ended"],
  });
}, 30_000);
