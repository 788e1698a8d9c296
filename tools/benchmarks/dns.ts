/**
 * `tools/bench dns`: answers a second of one name server on one core, beside dnsmasq and Unbound, on loopback.
 *
 * Two cases: names of a cluster of 1,000 services with three tasks each (to the others: static records), and names of
 * elsewhere that the cache holds. dnsperf makes the load on the other core, 4 sockets and 100 questions under way, and
 * the servers take turns. `BENCH_SECONDS` (5) for each run, `BENCH_ROUNDS` (3) of them; the best of each server counts.
 * Needs two cores.
 */
import { execFile, execFileSync, spawn, type ChildProcess } from "node:child_process";
import { Resolver } from "node:dns/promises";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { ServiceNames, startDnsServer } from "../../packages/dns/src/index.ts";
import { until } from "../../packages/std/src/testing/index.ts";
import { machineLine, percentile, printTable, setting } from "./report.ts";

const seconds = setting("BENCH_SECONDS", 5);
/** Questions a second while latencies are taken: far below what any of them can do. */
const pace = 10_000;
const rounds = setting("BENCH_ROUNDS", 3);
const servers = ["warren", "dnsmasq", "unbound"] as const;
type Server = (typeof servers)[number];
const cases = ["names", "cache"] as const;
type Case = (typeof cases)[number];

const services = 1_000;
const elsewhere = 200;
const ports = { upstream: 5_460, warren: 5_461, dnsmasq: 5_462, unbound: 5_463 };
const folder = mkdtempSync(join(tmpdir(), "bench-dns-"));

interface Run {
  readonly server: Server;
  readonly case: Case;
  readonly answersPerSecond: number;
  readonly lost: number;
  /** Of answers at `pace` questions a second, microseconds. */
  readonly p50Us: number;
  readonly p95Us: number;
  readonly p99Us: number;
  /** Resident memory of the server after the load. */
  readonly megabytes: number;
}

/** Installs what is missing, where that is possible. */
function need(packages: Readonly<Record<string, string>>): void {
  const missing = Object.entries(packages).filter(
    ([program]) => !["/usr/bin", "/usr/sbin"].some((at) => existsSync(join(at, program))),
  );
  if (missing.length === 0) return;
  const names = missing.map(([, name]) => name);
  if (process.getuid?.() !== 0)
    throw new Error(`not installed: ${names.join(", ")}; run as root once, or install them`);
  execFileSync("apt-get", ["update", "-qq"], { stdio: "ignore" });
  // Debian starts Unbound on installing it, and the port of names is not ours to take.
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  execFileSync("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...names], { stdio: "ignore", env });
}

/** The addresses of every name that is asked for. */
function records(): [string, string][] {
  return Array.from({ length: services }, (_, n): [string, string][] => {
    const task = (slot: number): string => `10.77.${n >> 6}.${(n & 63) * 4 + slot}`;
    return [
      [`s${n}`, `10.96.${n >> 8}.${n & 255}`],
      ...[1, 2, 3].map((slot): [string, string] => [`tasks.s${n}`, task(slot)]),
      [`1.s${n}`, task(1)],
    ];
  }).flat();
}

function dnsmasqConf(): string {
  const lines = [
    "no-daemon",
    "no-resolv",
    "no-hosts",
    "bind-interfaces",
    "listen-address=127.0.0.1",
    "user=root",
    "cache-size=10000",
  ];
  lines.push(`port=${ports.dnsmasq}`, `server=/example/127.0.0.1#${ports.upstream}`);
  return [...lines, ...records().map(([name, address]) => `host-record=${name},${address},5`)].join("\n");
}

function unboundConf(): string {
  const zones = Array.from({ length: services }, (_, n) => `  local-zone: "s${n}." static`);
  const data = records().map(([name, address]) => `  local-data: "${name}. 5 A ${address}"`);
  return [
    "server:",
    `  directory: "${folder}"`,
    '  chroot: ""',
    '  username: ""',
    '  pidfile: ""',
    "  use-syslog: no",
    "  do-daemonize: no",
    "  num-threads: 1",
    '  module-config: "iterator"',
    "  do-not-query-localhost: no",
    `  interface: 127.0.0.1@${ports.unbound}`,
    ...zones,
    ...data,
    "remote-control:",
    "  control-enable: no",
    "forward-zone:",
    '  name: "example."',
    `  forward-addr: 127.0.0.1@${ports.upstream}`,
    "",
  ].join("\n");
}

function start(server: Server): ChildProcess {
  const program = fileURLToPath(new URL("dns-server.ts", import.meta.url));
  const commands = {
    warren: [
      process.execPath,
      "--conditions=warren-source",
      program,
      String(ports.warren),
      `127.0.0.1:${ports.upstream}`,
    ],
    dnsmasq: ["/usr/sbin/dnsmasq", `--conf-file=${join(folder, "dnsmasq.conf")}`],
    unbound: ["/usr/sbin/unbound", "-d", "-c", join(folder, "unbound.conf")],
  } as const;
  return spawn("taskset", ["-c", "0", ...commands[server].map(String)], { stdio: "ignore" });
}

/** dnsperf's words after so many seconds of load. */
async function dnsperf(server: Server, which: Case, seconds: number, ...more: string[]): Promise<string> {
  const args = [
    "-s",
    "127.0.0.1",
    "-p",
    String(ports[server]),
    "-d",
    join(folder, `${which}.txt`),
    "-l",
    String(seconds),
  ];
  const all = ["-c", "1", "dnsperf", ...args, "-c", "4", "-q", "100", ...more];
  const { stdout } = await promisify(execFile)("taskset", all, { maxBuffer: 2 ** 28 });
  return stdout;
}

function number(text: string, pattern: RegExp): number {
  return Number(pattern.exec(text)?.[1] ?? Number.NaN);
}

async function load(server: Server, which: Case): Promise<Omit<Run, "megabytes">> {
  // Warm: code and cache.
  await dnsperf(server, which, 1);
  const full = await dnsperf(server, which, seconds);
  const codes = /Response codes:\s+(.*)/.exec(full)?.[1] ?? "";
  if (!/^NOERROR \d+ \(100\.00%\)$/.test(codes)) throw new Error(`${server} does not know all names: ${codes}`);
  const paced = await dnsperf(server, which, 2, "-Q", String(pace), "-v");
  const tookSeconds = [...paced.matchAll(/^> NOERROR .* ([\d.]+)$/gm)].map(([, text]) => Number(text));
  const at = (share: number): number => Math.round(percentile(tookSeconds, share) * 1e6);
  return {
    server,
    case: which,
    answersPerSecond: Math.round(number(full, /Queries per second:\s+([\d.]+)/)),
    lost: number(full, /Queries lost:\s+(\d+)/),
    p50Us: at(0.5),
    p95Us: at(0.95),
    p99Us: at(0.99),
  };
}

function megabytes(child: ChildProcess): number {
  const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1_024);
}

async function measure(server: Server): Promise<Run[]> {
  const child = start(server);
  const ended = once(child, "exit");
  try {
    const resolver = new Resolver({ timeout: 200, tries: 1 });
    resolver.setServers([`127.0.0.1:${ports[server]}`]);
    await until(
      `${server} answers`,
      async () => (await resolver.resolve4("s0").catch(() => undefined)) ?? false,
      30_000,
    );
    const measured: Run[] = [];
    for (const which of cases) measured.push({ ...(await load(server, which)), megabytes: megabytes(child) });
    return measured;
  } finally {
    child.kill("SIGTERM");
    await ended;
  }
}

need({ dnsperf: "dnsperf", dnsmasq: "dnsmasq-base", unbound: "unbound" });
writeFileSync(join(folder, "dnsmasq.conf"), dnsmasqConf());
writeFileSync(join(folder, "unbound.conf"), unboundConf());
const asked = Array.from({ length: services }, (_, n) => `s${n} A\ntasks.s${n} A\n1.s${n} A\n`);
writeFileSync(join(folder, "names.txt"), asked.join(""));
writeFileSync(join(folder, "cache.txt"), Array.from({ length: elsewhere }, (_, n) => `h${n}.example A\n`).join(""));

const upstreamNames = new ServiceNames({ domain: "example", clientNetworks: () => ["all"] });
upstreamNames.update(
  Array.from({ length: elsewhere }, (_, n) => ({
    name: `h${n}`,
    networks: ["all"],
    vip: `192.0.2.${n + 1}`,
    tasks: [],
  })),
);
const runs: Run[] = [];
const upstream = await startDnsServer(
  { resolver: upstreamNames },
  { listen: [{ address: "127.0.0.1", port: ports.upstream }], upstreams: [], domain: "example", ttlSeconds: 3_600 },
);
try {
  for (let round = 0; round < rounds; round += 1) {
    for (const server of servers) runs.push(...(await measure(server)));
  }
} finally {
  await upstream.close();
  rmSync(folder, { recursive: true });
}
/** What disturbed the machine only ever takes away. */
const best = (server: Server, which: Case): Run =>
  runs
    .filter((run) => run.server === server && run.case === which)
    .reduce((top, run) => (run.answersPerSecond > top.answersPerSecond ? run : top));
process.stdout.write(
  `dns: one core, best of ${rounds} × ${seconds} s; latency at ${pace} questions a second\n${machineLine()}\n\n`,
);
printTable(
  ["names of", "server", "answers/s", "of it, warren", "lost", "p50 µs", "p95 µs", "p99 µs", "MB"],
  cases.flatMap((which) =>
    servers.map((server) => {
      const run = best(server, which);
      const ratio = (best("warren", which).answersPerSecond / run.answersPerSecond).toFixed(2);
      const figures = [run.lost, run.p50Us, run.p95Us, run.p99Us, run.megabytes].map(String);
      return [which === "names" ? "the cluster" : "elsewhere", server, String(run.answersPerSecond), ratio, ...figures];
    }),
  ),
);
