/** Members as real processes on loopback, with TLS between them and their logs on the real disk. */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

import type { Leadership, Member } from "../../src/index.ts";

const run = promisify(execFile);
const program = join(import.meta.dirname, "member.ts");

export interface MemberProcess {
  readonly id: number;
  readonly child: ChildProcess;
  leadership: Leadership | undefined;
  ended: string | undefined;
  ask(request: Record<string, unknown>): Promise<unknown>;
  /** Kills it and waits for its end. */
  kill(signal?: NodeJS.Signals): Promise<void>;
}

export class Processes implements AsyncDisposable {
  readonly members: Member[];
  readonly running = new Map<number, MemberProcess>();
  readonly directory: string;

  private constructor(directory: string, members: Member[]) {
    this.directory = directory;
    this.members = members;
  }

  static async make(count: number): Promise<Processes> {
    const directory = await mkdtemp(join(tmpdir(), "raft-cluster-"));
    await certificates(directory);
    const ports = await freePorts(count + 1);
    const members = ports.map((port, at) => ({ id: at + 1, address: `127.0.0.1:${port}` }));
    const processes = new Processes(directory, members);
    await Promise.all(members.slice(0, count).map(({ id }) => processes.start(id, { voters: count })));
    return processes;
  }

  path(id: number): string {
    return join(this.directory, `member-${id}`);
  }

  async start(
    id: number,
    { voters, bootstrap = true, wrap = [] }: { voters: number; bootstrap?: boolean; wrap?: string[] },
  ): Promise<MemberProcess> {
    const members = this.members.slice(0, voters);
    const listen = this.members[id - 1]!.address;
    const settings = { id, members, listen, bootstrap, directory: this.path(id), tls: this.directory };
    const [command, ...rest] = [
      ...wrap,
      process.execPath,
      "--conditions=warren-source",
      program,
      JSON.stringify(settings),
    ];
    const child = spawn(command, rest, { stdio: ["pipe", "pipe", "inherit"] });
    const member = speak(id, child);
    this.running.set(id, member.process);
    await member.ready;
    return member.process;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.running.values()].map((member) => member.kill()));
    await rm(this.directory, { recursive: true });
  }
}

function speak(id: number, child: ChildProcess): { process: MemberProcess; ready: Promise<void> } {
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  const ready = Promise.withResolvers<void>();
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  let count = 0;
  const member: MemberProcess = {
    id,
    child,
    leadership: undefined,
    ended: undefined,
    ask(request) {
      const n = ++count;
      return new Promise((resolve, reject) => {
        if (child.exitCode !== null || child.signalCode !== null) return reject(new Error("exited"));
        waiting.set(n, { resolve, reject });
        child.stdin!.write(`${JSON.stringify({ n, ...request })}\n`);
      });
    },
    async kill(signal = "SIGKILL") {
      child.kill(signal);
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
  return { process: member, ready: ready.promise };
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () => {
      const server = createServer();
      return new Promise<typeof server>((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

async function certificates(directory: string): Promise<void> {
  const path = (name: string): string => join(directory, name);
  const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  await run("openssl", [
    "req",
    "-x509",
    ...ec,
    "-keyout",
    path("ca.key"),
    "-out",
    path("ca.pem"),
    "-subj",
    "/CN=ca",
    "-days",
    "1",
  ]);
  await run("openssl", ["req", ...ec, "-keyout", path("member.key"), "-out", path("member.csr"), "-subj", "/CN=raft"]);
  await writeFile(path("names"), "subjectAltName=DNS:raft\n");
  const sign = [
    "x509",
    "-req",
    "-in",
    path("member.csr"),
    "-CA",
    path("ca.pem"),
    "-CAkey",
    path("ca.key"),
    "-CAcreateserial",
  ];
  await run("openssl", [...sign, "-days", "1", "-extfile", path("names"), "-out", path("member.pem")]);
}
