import { spawn, type ChildProcessByStdio } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { getSystemErrorName } from "node:util";
import { fileURLToPath } from "node:url";
import { delay, errorText, systemClock, type Clock } from "@warren/std";
import { RuntimeError } from "@warren/runtime";
import type { Mount } from "./generated/containerd/types.ts";

/** Where the program is that `native/` builds, unless the executable that this is part of brought it elsewhere. */
export const builtProgram: string = fileURLToPath(new URL("../bin/warren-runtime", import.meta.url));

/** Longest that an answer may take, ms: a file system that a container made may never give one. */
const answerMs = 30_000;
/** Longest that a volume may take to be filled, ms. */
const fillMs = 30 * 60_000;
const headerBytes = 12;

interface Pending {
  readonly command: string;
  readonly resolve: (payload: Buffer) => void;
  readonly reject: (error: RuntimeError) => void;
}

/**
 * `native/src/serve.rs`: what must be done outside this process, by one of its own that begins with the first request
 * and ends with this one. A call that fails rejects with `RUNTIME_FAILED`, its `status` an errno of Linux.
 */
export class NativeProgram {
  readonly path: string;
  readonly #clock: Clock;
  readonly #pending = new Map<number, Pending>();
  #child: ChildProcessByStdio<Writable, Readable, null> | undefined;
  #received: Buffer = Buffer.alloc(0);
  #next = 1;

  constructor(path: string, clock: Clock = systemClock) {
    this.path = path;
    this.#clock = clock;
  }

  /** Makes a network namespace with loopback up that lives by its mount at `path`. */
  async createNetns(path: string): Promise<void> {
    await this.#ask("netns-create", [path]);
  }

  /** One that is not there is what is wanted. */
  async deleteNetns(path: string): Promise<void> {
    await this.#ask("netns-delete", [path]);
  }

  async createFifos(...paths: readonly string[]): Promise<void> {
    await this.#ask("fifo", paths);
  }

  /** A regular file of a running container, resolved within its root. */
  readOfProcess(pid: number, path: string, mostBytes: number): Promise<Buffer> {
    return this.#ask("read", [`/proc/${pid}/root`, path, String(mostBytes)]);
  }

  /** A regular file of an image, resolved within its root. @param scratch an empty directory, which it may mount on */
  readOfImage(layers: readonly string[], path: string, mostBytes: number, scratch: string): Promise<Buffer> {
    return this.#ask("read-layers", [scratch, String(mostBytes), path, ...layers]);
  }

  /** Fills an empty directory with an image's; whether there was something to fill it with. */
  async fill(layers: readonly string[], from: string, to: string, scratch: string): Promise<boolean> {
    return (await this.#ask("fill", [scratch, from, to, ...layers], fillMs))[0] === 1;
  }

  /** Ends the process once it has answered all; a later call begins another. */
  close(): void {
    this.#child?.stdin.end();
    this.#child = undefined;
  }

  async #ask(command: string, words: readonly string[], mostMs: number = answerMs): Promise<Buffer> {
    const child = (this.#child ??= this.#start());
    const number = this.#next;
    this.#next = (this.#next % 0xffff_ffff) + 1;
    const text = Buffer.from([command, ...words].join("\0"));
    const head = Buffer.alloc(8);
    head.writeUInt32LE(text.length + 4, 0);
    head.writeUInt32LE(number, 4);
    const over = new AbortController();
    const answer = new Promise<Buffer>((resolve, reject) => {
      this.#pending.set(number, { command, resolve, reject });
      child.stdin.write(Buffer.concat([head, text]));
    }).finally(() => over.abort());
    const late = delay(this.#clock, mostMs, over.signal).then(
      () => this.#pending.get(number)?.reject(failed(command, 0, `no answer in ${mostMs / 1000} s`)),
      () => undefined,
    );
    try {
      return await answer;
    } finally {
      this.#pending.delete(number);
      await late;
    }
  }

  #start(): ChildProcessByStdio<Writable, Readable, null> {
    const child = spawn(this.path, ["serve"], { stdio: ["pipe", "pipe", "inherit"] });
    const ended = (why: string): void => {
      if (this.#child === child) this.#child = undefined;
      this.#received = Buffer.alloc(0);
      for (const { command, reject } of this.#pending.values()) reject(failed(command, 0, why));
      this.#pending.clear();
    };
    child.once("error", (error) => ended(`${this.path} can't be started: ${errorText(error)}`));
    child.once("exit", (code, signal) => ended(`${this.path} ended with ${code ?? signal}`));
    child.stdin.on("error", () => undefined); // its exit says it
    child.stdout.on("data", (bytes: Buffer) => this.#take(bytes));
    // It is no reason for this process to stay.
    child.unref();
    for (const pipe of [child.stdin, child.stdout]) (pipe as unknown as { unref(): void }).unref();
    return child;
  }

  #take(bytes: Buffer): void {
    let received = Buffer.concat([this.#received, bytes]);
    while (received.length >= headerBytes) {
      const length = received.readUInt32LE(0) + 4;
      if (received.length < length) break;
      const waiting = this.#pending.get(received.readUInt32LE(4));
      const status = received.readInt32LE(8);
      const payload = received.subarray(headerBytes, length);
      // The caller of a late reply no longer waits.
      if (status === 0) waiting?.resolve(Buffer.from(payload));
      else waiting?.reject(failed(waiting.command, status, payload.toString()));
      received = received.subarray(length);
    }
    this.#received = Buffer.from(received);
  }
}

/** Whether a call failed by this errno of Linux: `ENOENT`. */
export function hasErrno(error: unknown, name: string): boolean {
  if (!(error instanceof RuntimeError) || error.failure.code !== "RUNTIME_FAILED") return false;
  const { status } = error.failure;
  return status > 0 && getSystemErrorName(-status) === name;
}

/** The directories of a snapshot, the upper one first. */
export function layersOf(mounts: readonly Mount[]): string[] {
  return mounts.flatMap(({ type, source, options }) => {
    if (type !== "overlay") return [source];
    const value = (key: string): string => options.find((o) => o.startsWith(`${key}=`))?.slice(key.length + 1) ?? "";
    return [value("upperdir"), ...value("lowerdir").split(":")].filter((dir) => dir !== "");
  });
}

function failed(command: string, status: number, why: string): RuntimeError {
  return new RuntimeError({ code: "RUNTIME_FAILED", status }, `${command} failed: ${why}`);
}
