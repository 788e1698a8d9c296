import { spawn, type ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { createNetns, deleteNetns, openNetlink } from "../netlink.ts";
import type { Netlink } from "../types.ts";
import { peerProgram } from "./peer.ts";

export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A network namespace with a program in it that serves and calls. */
export class LabHost {
  readonly path: string;
  readonly netlink: Netlink;
  #peer: ChildProcess | undefined;
  #next = 0;
  readonly #waiting = new Map<number, PromiseWithResolvers<string>>();

  constructor(path: string) {
    this.path = path;
    this.netlink = openNetlink(path);
  }

  /** Runs a program in the host to its end; rejects only if it can't be started. */
  readonly run = (program: string, args: readonly string[], input = ""): Promise<Finished> =>
    new Promise((resolve, reject) => {
      const child = spawn("nsenter", [`--net=${this.path}`, program, ...args], { stdio: "pipe" });
      let stdout = "";
      let stderr = "";
      child.stdout.on("data", (data) => (stdout += String(data)));
      child.stderr.on("data", (data) => (stderr += String(data)));
      child.on("error", reject);
      child.on("close", (code) => resolve({ code: code ?? 1, stdout, stderr }));
      // A program that ends before it has read its input says why by its exit code.
      child.stdin.on("error", (error: NodeJS.ErrnoException) => {
        if (error.code !== "EPIPE") reject(error);
      });
      child.stdin.end(input);
    });

  /** Serves TCP and UDP on `port`: each line is answered with `name`, the caller's address and the line. */
  async serve(name: string, port: number): Promise<void> {
    await this.#command({ do: "serve", name, port });
  }

  /** Connects, sends a line, and disconnects. Rejects with `ECONNREFUSED`, `EHOSTUNREACH`, `ETIMEDOUT`, … */
  async call(address: string, port: number): Promise<{ readonly name: string; readonly caller: string }> {
    const key = `call ${this.#next}`;
    try {
      return parse(await this.#command({ do: "dial", key, address, port, text: "x" }));
    } finally {
      await this.#command({ do: "hangUp", key });
    }
  }

  /** Connects and stays connected. */
  async connect(address: string, port: number): Promise<{ readonly name: string; ask(): Promise<string> }> {
    const key = `connection ${this.#next}`;
    const { name } = parse(await this.#command({ do: "dial", key, address, port, text: "x" }));
    return { name, ask: async () => parse(await this.#command({ do: "ask", key, text: "x" })).name };
  }

  /** Sends one datagram from the port `from`, and resolves with the name of the server that answers. */
  async send(address: string, port: number, from: number): Promise<{ readonly name: string; readonly caller: string }> {
    return parse(await this.#command({ do: "send", address, port, from, text: "x" }));
  }

  /** Sends one datagram from `source`, an address of this host, and the port `from`; no answer is awaited. */
  async sendFrom(source: string, address: string, port: number, text: string, from = 0): Promise<void> {
    await this.#command({ do: "sendFrom", source, address, port, text, from });
  }

  /** Each datagram that this host's servers received, as `CALLER TEXT`. */
  async received(): Promise<readonly string[]> {
    return JSON.parse(await this.#command({ do: "received" })) as string[];
  }

  async close(): Promise<void> {
    const peer = this.#peer;
    if (peer !== undefined && peer.exitCode === null) {
      const ended = new Promise((resolve) => peer.once("close", resolve));
      peer.kill("SIGKILL");
      await ended;
    }
    await deleteNetns(this.path);
  }

  #command(command: object): Promise<string> {
    const peer = (this.#peer ??= this.#start());
    const id = this.#next++;
    const answer = Promise.withResolvers<string>();
    this.#waiting.set(id, answer);
    peer.stdin?.write(`${JSON.stringify({ id, ...command })}\n`);
    return answer.promise;
  }

  #start(): ChildProcess {
    const program = `(${peerProgram.toString()})()`;
    const peer = spawn("nsenter", [`--net=${this.path}`, process.execPath, "-e", program], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    createInterface({ input: peer.stdout }).on("line", (line) => {
      const { id, text, error } = JSON.parse(line) as { id: number; text: string; error?: string };
      const answer = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) answer?.resolve(text);
      else answer?.reject(Object.assign(new Error(error), { code: error }));
    });
    peer.on("close", () => {
      for (const answer of this.#waiting.values()) answer.reject(new Error("the peer ended"));
      this.#waiting.clear();
    });
    return peer;
  }
}

function parse(answer: string): { name: string; caller: string } {
  const [name = "", caller = ""] = answer.split(" ");
  return { name, caller };
}

/** Hosts as network namespaces, with veth pairs between them; all are removed when it is disposed of. Needs root. */
export class Lab implements AsyncDisposable {
  readonly folder: string;
  readonly #hosts: LabHost[] = [];
  #wires = 0;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async open(): Promise<Lab> {
    return new Lab(await mkdtemp(join(tmpdir(), "warren-lab-")));
  }

  async host(name: string): Promise<LabHost> {
    const path = join(this.folder, name);
    await createNetns(path);
    const host = this.adopt(path);
    await host.netlink.changeLink("lo", { up: true });
    return host;
  }

  /** A host in a namespace that exists already; it is deleted with the lab. */
  adopt(path: string): LabHost {
    const host = new LabHost(path);
    this.#hosts.push(host);
    return host;
  }

  /** Connects two hosts by a veth pair, each with its address (`10.0.0.1/24`); resolves with the names of the ends. */
  async wire(a: LabHost, addressA: string, b: LabHost, addressB: string): Promise<readonly [string, string]> {
    const name = `lab${this.#wires++}`;
    const ends = [`${name}a`, `${name}b`] as const;
    await a.netlink.createVeth({ name: ends[0], peerName: ends[1], peerNetns: b.path });
    for (const [host, end, address] of [
      [a, ends[0], addressA],
      [b, ends[1], addressB],
    ] as const) {
      await host.netlink.addAddress(end, address);
      await host.netlink.changeLink(end, { up: true });
    }
    return ends;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#hosts.map((host) => host.close()));
    await rm(this.folder, { recursive: true, force: true });
  }
}
