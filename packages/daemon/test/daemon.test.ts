import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  DaemonError,
  logLevels,
  pinoLogger,
  prometheusMetrics,
  runningPid,
  startHealthServer,
  writePidFile,
  type LogLevel,
} from "@warren/daemon";
import { WarrenError } from "@warren/std";
import { loggerContract, metricsContract, type LogRecord } from "@warren/std/testing";
import { expect, test } from "vitest";

function recordingLogger(level: LogLevel = "info") {
  const lines: Record<string, unknown>[] = [];
  const write = (text: string): void => void lines.push(JSON.parse(text) as Record<string, unknown>);
  return { lines, log: pinoLogger({ level, destination: { write } }) };
}

test.each(loggerContract)("pino as a Logger $title", ({ run }) => {
  const { lines, log } = recordingLogger("debug");
  const recordOf = ({ level, time, msg, ...fields }: Record<string, unknown>): LogRecord => {
    expect(time).toBeTypeOf("number");
    return { level: level as LogRecord["level"], event: msg as string, fields };
  };
  return run({ log, records: () => lines.map(recordOf) });
});

test.each(metricsContract)("prom-client as Metrics: it $title", ({ run }) => {
  const prometheus = prometheusMetrics();
  /** A line's number, whatever the order of its labels. */
  const value = async (name: string, labels: Readonly<Record<string, string>> = {}): Promise<number | undefined> => {
    const pairs = Object.entries(labels).map(([label, each]) => `${label}="${each}"`);
    for (const line of (await prometheus.text()).split("\n")) {
      const [, found, inner = "", number] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      if (found === name && inner.split(",").toSorted().join() === pairs.toSorted().join()) return Number(number);
    }
    return undefined;
  };
  return run({
    metrics: prometheus.metrics,
    value,
    observed: async (name) => ({
      count: (await value(`${name}_count`)) ?? 0,
      sum: (await value(`${name}_sum`)) ?? 0,
    }),
  });
});

test("a line is an object with level, event and the fields of the logger and its parents", () => {
  const { log, lines } = recordingLogger();
  log.child({ component: "raft" }).info("leader elected", { term: 3 });
  expect(lines).toMatchObject([{ level: "info", msg: "leader elected", component: "raft", term: 3 }]);
});

test("lines below the level are dropped", () => {
  const { log, lines } = recordingLogger();
  for (const level of logLevels) log[level]("event");
  expect(lines.map(({ level }) => level)).toEqual(["info", "warn", "error"]);
});

test("an expected error is logged with its text and causes, an unexpected one with its stack too", () => {
  const { log, lines } = recordingLogger();
  log.error("failed", { error: new WarrenError({ code: "X" }, "no disk", { cause: new Error("EIO") }) });
  log.error("failed", { error: new TypeError("bug") });
  expect(lines[0]).toMatchObject({ error: "no disk: EIO" });
  expect(lines[0]).not.toHaveProperty("errorStack");
  expect(lines[1]?.["errorStack"]).toMatch(/daemon\.test/);
});

test("a line that can't be written or serialized is counted, and later lines are written", async () => {
  const prometheus = prometheusMetrics();
  const lines: string[] = [];
  let full = true;
  const write = (text: string): void => {
    if (full) throw new Error("ENOSPC");
    lines.push(text);
  };
  const log = pinoLogger({ destination: { write }, metrics: prometheus.metrics });
  log.info("lost");
  const throws = {
    get field(): string {
      throw new Error("a getter that throws");
    },
  };
  log.child(throws).info("lost too");
  full = false;
  log.info("a bad field", throws);
  log.child(throws).info("kept");
  expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual(["kept"]);
  expect(await prometheus.text()).toContain("warren_log_failures_total 5");
});

test("a metric that prom-client refuses is one error in the log, and no call throws", async () => {
  const { log, lines } = recordingLogger();
  const prometheus = prometheusMetrics(log);
  const counter = prometheus.metrics.counter({ name: "c_total", help: "c", labels: ["kind"] });
  counter.add(-1);
  counter.add(1, { other: "label" });
  prometheus.metrics.gauge({ name: "not a name", help: "" }).set(1);
  prometheus.metrics.gauge({ name: "c_total", help: "another kind" }).set(1);
  counter.add(3, { kind: "a" });
  expect(await prometheus.text()).toContain('c_total{kind="a"} 3');
  expect(lines.map(({ metric }) => metric)).toEqual(["c_total", "not a name"]);
});

test("/metrics has every kind of metric, and a name that is registered twice is one metric", async () => {
  const prometheus = prometheusMetrics();
  const { metrics } = prometheus;
  for (const _ of [1, 2]) metrics.counter({ name: "c_total", help: "c", labels: ["kind"] }).add(2, { kind: "a" });
  metrics.gauge({ name: "g_bytes", help: "g" }).set(7);
  metrics.histogram({ name: "h_seconds", help: "h", buckets: [1, 2] }).observe(1.5);
  await using server = await startHealthServer(prometheus, () => undefined, { address: "127.0.0.1:0" });
  const response = await fetch(`http://${server.address}/metrics`);
  expect(response.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
  const text = await response.text();
  for (const line of ['c_total{kind="a"} 4', "g_bytes 7", 'h_seconds_bucket{le="2"} 1']) expect(text).toContain(line);
  expect(text).toContain("process_resident_memory_bytes");
});

test("/healthz answers while the process lives, /readyz says why not", async () => {
  let reason: string | undefined = "no leader";
  await using server = await startHealthServer(prometheusMetrics(), () => reason, { address: "127.0.0.1:0" });
  const get = async (path: string, method = "GET") => {
    const response = await fetch(`http://${server.address}${path}`, { method });
    return [response.status, await response.text()];
  };
  expect(await get("/healthz")).toEqual([200, "ok\n"]);
  expect(await get("/readyz")).toEqual([503, "no leader\n"]);
  reason = undefined;
  expect(await get("/readyz")).toEqual([200, "ok\n"]);
  expect(await get("/readyz", "HEAD")).toEqual([200, ""]);
  expect(await get("/")).toEqual([404, "not found: use /metrics, /healthz or /readyz\n"]);
  expect(await get("/metrics", "POST")).toEqual([405, "only GET and HEAD\n"]);
});

test("an address that is in use or invalid is refused with what to do", async () => {
  await using server = await startHealthServer(prometheusMetrics(), () => undefined, { address: "[::1]:0" });
  const again = startHealthServer(prometheusMetrics(), () => undefined, { address: server.address });
  await expect(again).rejects.toMatchObject({ code: "DAEMON_ADDRESS_IN_USE" });
  await expect(again).rejects.toBeInstanceOf(DaemonError);
  for (const address of ["9090", "::1:9", "host:99999"]) {
    const refused = startHealthServer(prometheusMetrics(), () => undefined, { address });
    await expect(refused).rejects.toMatchObject({ code: "DAEMON_ADDRESS_INVALID" });
  }
});

test("a daemon's process id is there while it runs, and a second one is refused", async () => {
  const path = join(await mkdtemp(join(tmpdir(), "warren-pid-")), "run/worker.pid");
  const other = spawn(process.execPath, ["-e", "process.stdin.resume()", "worker"], {
    stdio: ["pipe", "ignore", "ignore"],
  });
  await once(other, "spawn");
  {
    await using file = await writePidFile(path, "worker");
    expect(await readFile(file.path, "utf8")).toBe(`${process.pid}\n`);
    await writeFile(path, `${other.pid}\n`);
    expect(await runningPid(path, "worker")).toBe(other.pid);
    await expect(writePidFile(path, "worker")).rejects.toMatchObject({ code: "DAEMON_ALREADY_RUNS" });
    // The process id is another program's by now: not a manager.
    expect(await runningPid(path, "manager")).toBeUndefined();
  }
  expect(existsSync(path)).toBe(false);
  await writeFile(path, `${other.pid}\n`);
  other.stdin.end();
  await once(other, "exit");
  await using taken = await writePidFile(path, "worker");
  expect(await readFile(taken.path, "utf8")).toBe(`${process.pid}\n`);
});
