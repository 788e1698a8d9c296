/**
 * `tools/bench raft`: committed writes through three members on this machine and one disk, fsync on, beside etcd.
 *
 * Each side's load is made as cheaply as it can be: for us inside the leader's process, for etcd from this process over
 * one gRPC connection to its leader. So the ratio holds for an embedded store, which is how Warren's managers use it:
 * etcd pays for its client protocol and we do not.
 */
import { execFileSync, spawn, type ChildProcess, type ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";

// The workspace's root has no dependencies of its own; raft's are used.
import { Client, credentials } from "../../packages/raft/node_modules/@grpc/grpc-js/build/src/index.js";

const durationMs = Number(process.env["BENCH_MS"] ?? 5_000);
const rounds = Number(process.env["BENCH_ROUNDS"] ?? 2);
const directory = mkdtempSync(join(process.env["BENCH_DIR"] ?? process.cwd(), ".bench-raft-"));
const children: ChildProcess[] = [];

interface Result {
  readonly writes: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
}

/** CPU time of processes so far, ms. */
function cpuMs(processes: readonly ChildProcess[]): number {
  const ticks = processes.map(
    ({ pid }) => readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [],
  );
  return ticks.reduce((sum, fields) => sum + (Number(fields[11]) + Number(fields[12])) * 10, 0);
}

function start(command: string, args: string[]): ChildProcessByStdio<Writable, Readable, null> {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "ignore"] });
  children.push(child);
  return child;
}

function certificates(): void {
  const run = (...args: string[]): void => void execFileSync("openssl", args, { cwd: directory, stdio: "ignore" });
  const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  run("req", "-x509", ...ec, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "1");
  run("req", ...ec, "-keyout", "member.key", "-out", "member.csr", "-subj", "/CN=raft");
  writeFileSync(join(directory, "names"), "subjectAltName=DNS:raft\n");
  run(
    "x509",
    "-req",
    "-in",
    "member.csr",
    "-CA",
    "ca.pem",
    "-CAkey",
    "ca.key",
    "-CAcreateserial",
    "-days",
    "1",
    "-extfile",
    "names",
    "-out",
    "member.pem",
  );
}

interface Side {
  readonly processes: readonly ChildProcess[];
  load(clients: number): Promise<Result>;
}

async function warren(): Promise<Side> {
  const members = [1, 2, 3].map((id) => ({ id, address: `127.0.0.1:${24_000 + id}` }));
  const leader = Promise.withResolvers<ChildProcessByStdio<Writable, Readable, null>>();
  const answers = new Map<ChildProcess, (result: Result) => void>();
  const processes = members.map(({ id }) => {
    const program = join(import.meta.dirname, "raft-member.ts");
    const child = start(process.execPath, [
      "--conditions=warren-source",
      program,
      JSON.stringify({ id, directory, members }),
    ]);
    createInterface({ input: child.stdout }).on("line", (line) => {
      const said = JSON.parse(line) as Result & { isLeader?: boolean };
      if (said.isLeader === true) leader.resolve(child);
      else if (said.isLeader === undefined) answers.get(child)?.(said);
    });
    return child;
  });
  const leading = await leader.promise;
  return {
    processes,
    load: (clients) =>
      new Promise((resolve) => {
        answers.set(leading, resolve);
        leading.stdin.write(`${JSON.stringify({ clients, durationMs })}\n`);
      }),
  };
}

const raw = (bytes: Buffer): Buffer => bytes;

function call(client: Client, method: string, request: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(`/etcdserverpb.${method}`, raw, raw, request, (error, answer) => {
      if (error === null) resolve(answer ?? Buffer.alloc(0));
      else reject(error);
    });
  });
}

async function etcd(): Promise<Side> {
  const peers = [1, 2, 3].map((id) => `m${id}=http://127.0.0.1:${25_000 + id}`).join(",");
  const processes = [1, 2, 3].map((id) => {
    const [peer, client] = [`http://127.0.0.1:${25_000 + id}`, `http://127.0.0.1:${26_000 + id}`];
    const own = ["--name", `m${id}`, "--data-dir", join(directory, `etcd-${id}`), "--initial-cluster", peers];
    const at = [
      "--listen-peer-urls",
      peer,
      "--initial-advertise-peer-urls",
      peer,
      "--listen-client-urls",
      client,
      "--advertise-client-urls",
      client,
    ];
    return start("etcd", [...own, ...at, "--logger", "zap", "--log-level", "error"]);
  });
  // The one that answers a put first is asked who leads: in StatusResponse the header's member id (2) equals the leader (4).
  const leading = await etcdLeader();
  return {
    processes,
    async load(clients) {
      const until = performance.now() + durationMs;
      const took: number[] = [];
      const put = (n: number): Buffer =>
        Buffer.concat([Buffer.from([0x0a, 8]), key(n), Buffer.from([0x12, 0x80, 2]), Buffer.alloc(256, 1)]);
      let n = 0;
      await Promise.all(
        Array.from({ length: clients }, async () => {
          while (performance.now() < until) {
            const begin = performance.now();
            await call(leading, "KV/Put", put(n++));
            took.push(performance.now() - begin);
          }
        }),
      );
      took.sort((a, b) => a - b);
      const at = (share: number): number => took[Math.floor(took.length * share)] ?? 0;
      return { writes: took.length, p50: at(0.5), p95: at(0.95), p99: at(0.99) };
    },
  };
}

function key(n: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(n);
  return bytes;
}

async function etcdLeader(): Promise<Client> {
  const clients = [1, 2, 3].map((id) => new Client(`127.0.0.1:${26_000 + id}`, credentials.createInsecure()));
  for (const client of clients) {
    await new Promise<void>((resolve, reject) => {
      client.waitForReady(Date.now() + 20_000, (error) => (error === undefined ? resolve() : reject(error)));
    });
  }
  await call(clients[0], "KV/Put", Buffer.concat([Buffer.from([0x0a, 1, 0x61])]));
  for (const client of clients) {
    const answer = await call(client, "Maintenance/Status", Buffer.alloc(0));
    const { header, leader } = statusIds(answer);
    if (header === leader) return client;
  }
  throw new Error("etcd has no leader");
}

/** Member id in the header (1.2) and leader (4) of a StatusResponse, as the hex of their varints. */
function statusIds(bytes: Buffer): { header: string; leader: string } {
  let at = 0;
  const varint = (): string => {
    const from = at;
    do at += 1;
    while ((bytes[at - 1] ?? 0) >= 128);
    return bytes.toString("hex", from, at);
  };
  const found = { header: "", leader: "?" };
  // The header's fields are read as if they stood outside: its member id is the first field 2 that is a number.
  while (at < bytes.length) {
    const tag = Number.parseInt(varint(), 16);
    const value = varint();
    if (tag === 0x10 && found.header === "") found.header = value;
    else if (tag === 0x20) found.leader = value;
    else if ((tag & 7) === 2 && tag !== 0x0a) at += Number.parseInt(value, 16);
  }
  return found;
}

async function measure(name: string, side: Side, clients: number): Promise<number> {
  const before = cpuMs(side.processes);
  const own = process.cpuUsage();
  const { writes, p50, p95, p99 } = await side.load(clients);
  const driver = process.cpuUsage(own);
  const members = ((cpuMs(side.processes) - before) * 1_000) / writes;
  const rate = writes / (durationMs / 1_000);
  const ms = [p50, p95, p99].map((value) => value.toFixed(2)).join(" / ");
  console.log(
    `${name.padEnd(7)} ${String(clients).padStart(5)} clients  ${rate.toFixed(0).padStart(6)} writes/s  p50/p95/p99 ${ms} ms  ` +
      `CPU ${members.toFixed(0)} µs/write members, ${((driver.user + driver.system) / writes).toFixed(0)} driver`,
  );
  return rate;
}

try {
  console.log(
    `${cpus().length} × ${cpus()[0]?.model}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}; 8-byte keys, 256-byte values`,
  );
  certificates();
  const [ours, theirs] = [await warren(), await etcd()];
  const ratios: string[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const clients of [1, 1_000]) {
      const ratio = (await measure("warren", ours, clients)) / (await measure("etcd", theirs, clients));
      ratios.push(`${clients}: ${ratio.toFixed(2)}`);
    }
  }
  console.log(`ratio of writes/s, by clients: ${ratios.join(", ")}`);
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  for (const child of children) {
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  }
  rmSync(directory, { recursive: true });
  process.exit();
}
