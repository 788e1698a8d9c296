import { constants } from "node:os";
import type { ContainerSpec } from "../container-spec.ts";
import type { Connection, ExecSpec, ExitStatus } from "../runtime.ts";
import { signalNumber } from "../signals.ts";

/** A process of a fake container, for the program that simulates it. */
export interface FakeProcess {
  readonly container: ContainerSpec;
  /** Undefined for the container's first process. */
  readonly exec: ExecSpec | undefined;
  /** Command and arguments of the spec; an image's are not known here. */
  readonly args: readonly string[];
  /** Empty where no input was passed. */
  readonly stdin: AsyncIterable<Uint8Array>;
  /** Resolves when a reader has taken it; at once for a container's log. */
  write(stream: "stdout" | "stderr", data: string | Uint8Array): Promise<void>;
  exit(code: number): void;
  /** Ends it as the kernel's out-of-memory killer does. */
  outOfMemory(): void;
  /** Handles a signal (`SIGTERM`) instead of ending with 128 + n. `SIGKILL` can't be handled. */
  onSignal(handler: (signal: string) => void): void;
  onResize(handler: (columns: number, rows: number) => void): void;
  /** Accepts connections on a port of the container, until the process ends. */
  listen(port: number, accept: (connection: Connection) => void): void;
}

/** Simulates a process: called once, when it starts. Without further calls the process runs until a signal ends it. */
export type FakeProgram = (process: FakeProcess) => void;

/** A process, as the machine controls it. */
export class RunningProcess implements FakeProcess {
  readonly container: ContainerSpec;
  readonly exec: ExecSpec | undefined;
  readonly args: readonly string[];
  readonly stdin: AsyncIterable<Uint8Array>;
  readonly pid: number;
  /** By port. */
  readonly listeners: Map<number, (connection: Connection) => void> = new Map();
  readonly ended: Promise<ExitStatus>;
  readonly #resolve: (exit: ExitStatus) => void;
  readonly #now: () => number;
  readonly #output: (stream: "stdout" | "stderr", data: Uint8Array) => Promise<void>;
  #exit: ExitStatus | undefined;
  #onSignal: ((signal: string) => void) | undefined;
  #onResize: ((columns: number, rows: number) => void) | undefined;

  constructor(
    what: Pick<FakeProcess, "container" | "exec" | "args" | "stdin"> & { readonly pid: number },
    now: () => number,
    output: (stream: "stdout" | "stderr", data: Uint8Array) => Promise<void>,
  ) {
    this.container = what.container;
    this.exec = what.exec;
    this.args = what.args;
    this.stdin = what.stdin;
    this.pid = what.pid;
    this.#now = now;
    this.#output = output;
    const { promise, resolve } = Promise.withResolvers<ExitStatus>();
    this.ended = promise;
    this.#resolve = resolve;
  }

  get exitStatus(): ExitStatus | undefined {
    return this.#exit;
  }

  async write(stream: "stdout" | "stderr", data: string | Uint8Array): Promise<void> {
    if (this.#exit !== undefined) return;
    const tty = this.exec === undefined ? this.container.tty : this.exec.tty;
    await this.#output(tty ? "stdout" : stream, typeof data === "string" ? Buffer.from(data) : data);
  }

  exit(code: number, oomKilled = false): void {
    if (this.#exit !== undefined) return;
    this.#exit = { code, oomKilled, finishedAt: this.#now() };
    this.#resolve(this.#exit);
  }

  outOfMemory(): void {
    this.exit(128 + constants.signals.SIGKILL, true);
  }

  onSignal(handler: (signal: string) => void): void {
    this.#onSignal = handler;
  }

  onResize(handler: (columns: number, rows: number) => void): void {
    this.#onResize = handler;
  }

  listen(port: number, accept: (connection: Connection) => void): void {
    this.listeners.set(port, accept);
  }

  signal(signal: string): void {
    if (this.#exit !== undefined) return;
    const number = signalNumber(signal);
    const name = Object.entries(constants.signals).find(([, value]) => value === number)?.[0] ?? String(number);
    if (this.#onSignal !== undefined && number !== constants.signals.SIGKILL) this.#onSignal(name);
    else this.exit(128 + number);
  }

  resize(columns: number, rows: number): void {
    this.#onResize?.(columns, rows);
  }
}
