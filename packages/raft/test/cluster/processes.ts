/** Members as real processes, with TLS between them and their logs on the real disk. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { freePorts, until } from "@warren/std/testing";

import type { Leadership, Member, RaftNodeOptions } from "../../src/index.ts";
import { makeAuthority, makeCertificate } from "../../src/testing/index.ts";
import type { Request, Settings } from "./member.ts";

const program = join(import.meta.dirname, "member.ts");

/** What it answers to a `Request`; it rejects with the code of a `RaftError`, or "exited". */
export type Ask = (request: Request) => Promise<unknown>;

export interface MemberProcess {
  readonly id: number;
  readonly child: ChildProcess;
  readonly alive: boolean;
  leadership: Leadership | undefined;
  /** Why it ended by itself: the code of a `RaftError`. */
  ended: string | undefined;
  readonly ask: Ask;
  /** Kills it and waits for its end. */
  kill(): Promise<void>;
}

export interface ClusterOptions {
  readonly options?: RaftNodeOptions;
  /** Addresses of members, if they are not ports on loopback. */
  readonly addresses?: readonly string[];
  /** What goes before a member's program: `nsenter …`. */
  readonly wrap?: (id: number) => readonly string[];
  readonly env?: (id: number) => Readonly<Record<string, string>>;
  /** Where a member's data go, if not into the cluster's directory. */
  readonly data?: (id: number) => string | undefined;
  /** Bytes that a snapshot has beside the registers. @default 0 */
  readonly ballastBytes?: number;
}

export interface StartOptions {
  /** One that joins those there are. @default false */
  readonly joins?: boolean;
  /** The name on its certificate. @default `member-ID` */
  readonly name?: string;
}

/** Members beyond the first ones that a test may add. */
const spare = 2;

export class Processes implements AsyncDisposable {
  readonly members: readonly Member[];
  readonly running: Map<number, MemberProcess> = new Map();
  readonly directory: string;
  private readonly voters: number;
  private readonly options: ClusterOptions;

  private constructor(directory: string, members: readonly Member[], voters: number, options: ClusterOptions) {
    this.directory = directory;
    this.members = members;
    this.voters = voters;
    this.options = options;
  }

  /** Starts `count` members on empty disks. */
  static async make(count: number, options: ClusterOptions = {}): Promise<Processes> {
    const processes = await Processes.prepare(count, options);
    await processes.startAll();
    return processes;
  }

  /** All that members need, and none of them started. */
  static async prepare(count: number, options: ClusterOptions = {}): Promise<Processes> {
    const directory = await mkdtemp(join(tmpdir(), "raft-cluster-"));
    const addresses = options.addresses ?? (await freePorts(count + spare)).map((port) => `127.0.0.1:${port}`);
    const members = addresses.map((address, at) => ({ id: at + 1, address }));
    const processes = new Processes(directory, members, count, options);
    await makeAuthority(processes.certificates);
    await Promise.all(members.map(({ id }) => makeCertificate(processes.certificates, `member-${id}`)));
    return processes;
  }

  get certificates(): string {
    return join(this.directory, "certificates");
  }

  path(id: number): string {
    return this.options.data?.(id) ?? join(this.directory, `member-${id}`);
  }

  startAll(): Promise<MemberProcess[]> {
    return Promise.all(this.members.slice(0, this.voters).map(({ id }) => this.start(id)));
  }

  async start(id: number, { joins = false, name = `member-${id}` }: StartOptions = {}): Promise<MemberProcess> {
    const settings: Settings = {
      id,
      name,
      members: this.members.slice(0, this.voters),
      listen: this.members[id - 1]!.address,
      bootstrap: !joins,
      directory: this.path(id),
      certificates: this.certificates,
      options: this.options.options ?? {},
      ballastBytes: this.options.ballastBytes ?? 0,
    };
    const wrap = this.options.wrap?.(id) ?? [];
    const [wrapper, ...wrapped] = wrap;
    const own = ["--conditions=warren-source", program, JSON.stringify(settings)];
    const env = { ...process.env, ...this.options.env?.(id) };
    const args = wrapper === undefined ? own : [...wrapped, process.execPath, ...own];
    const child = spawn(wrapper ?? process.execPath, args, { stdio: ["pipe", "pipe", "inherit"], env });
    const { member, ready } = speak(id, child);
    this.running.set(id, member);
    await ready;
    return member;
  }

  /** Those that answer, a stopped one among them. */
  alive(): MemberProcess[] {
    return [...this.running.values()].filter(({ alive }) => alive);
  }

  /** The leader of the highest term, once there is one besides `besides`. */
  leader(besides?: number): Promise<MemberProcess> {
    return until(
      "someone leads",
      () =>
        this.alive()
          .filter(({ id, leadership }) => id !== besides && leadership?.isLeader === true)
          .sort((a, b) => b.leadership!.term - a.leadership!.term)[0],
      20_000,
    );
  }

  async killAll(): Promise<void> {
    await Promise.all(this.alive().map((member) => member.kill()));
    this.running.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.killAll();
    await rm(this.directory, { recursive: true });
  }
}

function speak(id: number, child: ChildProcess): { member: MemberProcess; ready: Promise<void> } {
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  const ready = Promise.withResolvers<void>();
  let count = 0;
  const exited = once(child, "exit");
  const member: MemberProcess = {
    id,
    child,
    leadership: undefined,
    ended: undefined,
    get alive() {
      return child.exitCode === null && child.signalCode === null;
    },
    ask(request) {
      const n = ++count;
      return new Promise((resolve, reject) => {
        if (!member.alive) return reject(new Error("exited"));
        waiting.set(n, { resolve, reject });
        child.stdin!.write(`${JSON.stringify({ n, ...request })}\n`);
      });
    },
    async kill() {
      if (member.alive) child.kill("SIGKILL");
      await exited;
    },
  };
  child.stdin!.on("error", () => child.kill("SIGKILL"));
  createInterface({ input: child.stdout! }).on("line", (line) => {
    const said = JSON.parse(line) as {
      ready?: true;
      leadership?: Leadership;
      ended?: string;
      n?: number;
      result?: unknown;
      error?: string;
    };
    if (said.leadership !== undefined) member.leadership = said.leadership;
    if (said.ended !== undefined) member.ended = said.ended;
    if (said.ready) ready.resolve();
    if (said.n === undefined) return;
    const request = waiting.get(said.n);
    waiting.delete(said.n);
    if (said.error === undefined) request?.resolve(said.result);
    else request?.reject(new Error(said.error));
  });
  child.once("exit", () => {
    ready.reject(new Error(`member ${id} exited before it was ready`));
    for (const { reject } of waiting.values()) reject(new Error("exited"));
  });
  return { member, ready: ready.promise };
}
