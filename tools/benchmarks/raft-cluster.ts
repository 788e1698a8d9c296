/** Members of ours as processes, and a driver of their clients. */
import { spawn, type ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";

import type { Leadership, Member } from "@warren/raft";
import { makeCertificate } from "@warren/raft/testing";
import { until } from "@warren/std/testing";

import { nextWrite, type Driver } from "./load.ts";
import type { MemberSettings } from "./raft-member.ts";

export interface Figures {
  readonly syncs: number;
  readonly entries: number;
  readonly snapshots: number;
  readonly applied: number;
  readonly commit: number;
  readonly rss: number;
}

export interface BenchMember {
  readonly id: number;
  readonly child: ChildProcessByStdio<Writable, Readable, null>;
  leadership: Leadership | undefined;
  figures(request?: { readonly add?: Member; readonly promote?: number }): Promise<Figures>;
}

/** As the README has it for a member that is to be small. */
const smallFlags = ["--max-semi-space-size=4", "--max-old-space-size=160"];
const smallEnvironment = { MALLOC_ARENA_MAX: "1" };

/** As etcd has it by default; a library that is asked to writes all of its state so often. */
const snapshotEntries = 100_000;

export interface RaftClusterOptions {
  /** Bytes that the state has beside what is written. @default 0 */
  readonly ballastBytes?: number;
  /** Whether the logs have a journal. @default true */
  readonly journal?: boolean;
  /** Whether V8's heap is held small, which costs time. @default false */
  readonly small?: boolean;
  /** Members listen at this port and those that follow, clients come 3,000 above. @default 24,001 */
  readonly firstPort?: number;
}

export class RaftCluster {
  readonly members: readonly Member[];
  readonly running: Map<number, BenchMember> = new Map();
  private readonly directory: string;
  private readonly certificates: string;
  private readonly options: Required<RaftClusterOptions>;

  private constructor(directory: string, certificates: string, options: RaftClusterOptions) {
    this.directory = directory;
    this.certificates = certificates;
    this.options = { ballastBytes: 0, journal: true, small: false, firstPort: 24_001, ...options };
    this.members = [1, 2, 3, 4].map((id) => ({ id, address: `127.0.0.1:${this.options.firstPort + id - 1}` }));
  }

  static async start(directory: string, certificates: string, options: RaftClusterOptions = {}): Promise<RaftCluster> {
    const cluster = new RaftCluster(directory, certificates, options);
    await Promise.all(cluster.members.map(({ id }) => makeCertificate(certificates, `member-${id}`)));
    await Promise.all([1, 2, 3].map((id) => cluster.startMember(id)));
    return cluster;
  }

  async startMember(id: number, { joins = false }: { readonly joins?: boolean } = {}): Promise<BenchMember> {
    const { directory, certificates } = this;
    const { ballastBytes, journal, small } = this.options;
    // A member that joins names itself as well: it listens there.
    const members = joins ? this.members : this.members.slice(0, 3);
    const settings: MemberSettings = {
      id,
      directory,
      certificates,
      members,
      port: this.clientPort(id),
      ballastBytes,
      joins,
      snapshotEntries,
      journal,
    };
    const program = join(import.meta.dirname, "raft-member.ts");
    const args = [...(small ? smallFlags : []), "--conditions=warren-source", program, JSON.stringify(settings)];
    const child = spawn(process.execPath, args, {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, ...(small ? smallEnvironment : {}) },
    });
    child.stdin.on("error", () => undefined); // it was killed
    const ready = Promise.withResolvers<void>();
    const waiting: ((figures: Figures) => void)[] = [];
    const member: BenchMember = {
      id,
      child,
      leadership: undefined,
      figures: (request = {}) =>
        new Promise((resolve) => {
          waiting.push(resolve);
          child.stdin.write(`${JSON.stringify(request)}\n`);
        }),
    };
    createInterface({ input: child.stdout }).on("line", (line) => {
      const said = JSON.parse(line) as { ready?: true; leadership?: Leadership; figures?: Figures };
      if (said.leadership !== undefined) member.leadership = said.leadership;
      if (said.ready) ready.resolve();
      if (said.figures !== undefined) waiting.shift()?.(said.figures);
    });
    child.once("exit", () => ready.reject(new Error(`member ${id} exited`)));
    this.running.set(id, member);
    await ready.promise;
    return member;
  }

  leader(besides?: number): Promise<BenchMember> {
    return until(
      "a member leads",
      () => [...this.running.values()].find(({ id, leadership }) => id !== besides && leadership?.isLeader === true),
      30_000,
    );
  }

  async connect(id: number, clients: number, done: (slot: number) => void): Promise<Driver & Disposable> {
    let closing = false;
    const sockets = await Promise.all(
      Array.from({ length: Math.min(clients, 16) }, async () => {
        const socket = connect(this.clientPort(id), "127.0.0.1");
        await once(socket, "connect");
        socket.on("error", () => socket.destroy()); // its member was killed
        socket.on("close", () => {
          if (!closing) throw new Error(`member ${id} refused a write or ended: it leads no more`);
        });
        socket.setNoDelay();
        let rest: Buffer = Buffer.alloc(0);
        socket.on("data", (chunk: Buffer) => {
          const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
          let at = 0;
          for (; bytes.length - at >= 4; at += 4) done(bytes.readUInt32LE(at));
          rest = bytes.subarray(at);
        });
        return socket;
      }),
    );
    return {
      start(slot) {
        const socket = sockets[slot % sockets.length];
        const number = Buffer.allocUnsafe(4);
        number.writeUInt32LE(slot);
        if (socket?.writableCorked === 0) {
          socket.cork();
          process.nextTick(() => socket.uncork());
        }
        socket?.write(Buffer.concat([number, nextWrite()]));
      },
      [Symbol.dispose]: () => {
        closing = true;
        for (const socket of sockets) socket.destroy();
      },
    };
  }

  async kill(id: number): Promise<void> {
    const member = this.running.get(id);
    if (member === undefined) return;
    this.running.delete(id);
    const ended = once(member.child, "exit");
    member.child.kill("SIGKILL");
    await ended;
  }

  private clientPort(id: number): number {
    return this.options.firstPort + 3_000 + id - 1;
  }

  async close(): Promise<void> {
    await Promise.all([...this.running.keys()].map((id) => this.kill(id)));
  }
}

/** CPU time of processes so far, µs. */
export function cpuMicros(pids: readonly (number | undefined)[]): number {
  const ticks = pids.map((pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
    return Number(fields[11]) + Number(fields[12]);
  });
  return ticks.reduce((sum, one) => sum + one * 10_000, 0);
}

/** Anonymous memory of a process, MiB: without files that it maps, which the kernel takes back when it likes. */
export function anonymousMiB(pid: number | undefined): number {
  return Number(/^RssAnon:\s+(\d+) kB$/mu.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1_024;
}
