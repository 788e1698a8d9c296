/** A machine for tests: real containerd, a real registry, both daemons as processes, and the command line. */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { connect, type ApiClient } from "@warren/api/client";
import { compareSlotKeys, isMeantToRun } from "@warren/api/model";
import { TaskState, type Task } from "@warren/api";
import { startRuntimeBed, type ImageContents, type RuntimeBed } from "@warren/runtime-containerd/testing";
import { finished, until, type Finished } from "@warren/std/testing";

const run = promisify(execFile);

/** The command as a file for Node. */
const program = join(import.meta.dirname, "../bin/warren.js");

export type DaemonName = "manager" | "worker";

export interface MachineOptions {
  /** The worker's, at each of its starts. */
  readonly workerFlags?: readonly string[];
  /** More of the worker's environment. */
  readonly workerEnv?: NodeJS.ProcessEnv;
  /** More of the manager's, of which the data dir is known when it is started. */
  readonly managerEnv?: (dataDir: string) => NodeJS.ProcessEnv;
  /**
   * Path of the network namespace that the worker has for its machine's network. The registry is not in it.
   * @default the test's own
   */
  readonly netns?: string;
}

export class Machine implements AsyncDisposable {
  readonly bed: RuntimeBed;
  readonly client: ApiClient;
  /** The `warren` command, for Node. */
  readonly program = program;
  readonly dataDir: string;
  readonly runDir: string;
  readonly #options: MachineOptions;
  readonly #daemons = new Map<DaemonName, ChildProcess>();

  private constructor(bed: RuntimeBed, options: MachineOptions) {
    this.bed = bed;
    this.#options = options;
    this.dataDir = join(bed.containerd.directory, "warren");
    this.runDir = join(bed.containerd.directory, "warren-run");
    this.client = connect({ socket: this.socket });
  }

  /** A cluster of one machine, whose node is ready. */
  static async start(options: MachineOptions = {}): Promise<Machine> {
    const machine = new Machine(await startRuntimeBed(), options);
    try {
      await mkdir(machine.dataDir, { recursive: true });
      await machine.startDaemon("manager");
      await until("the manager makes a cluster", async () =>
        (await machine.warren("cluster", "info")).stderr.includes("no cluster"),
      );
      await machine.client.clusters.init({});
      await machine.startDaemon("worker");
      await machine.nodeReady();
      return machine;
    } catch (error) {
      await machine[Symbol.asyncDispose]();
      throw error;
    }
  }

  get socket(): string {
    return join(this.runDir, "manager.sock");
  }

  /** Pushes a busybox image with these contents; gives its name. */
  push(nameAndTag: string, contents?: ImageContents): Promise<string> {
    return this.bed.push(nameAndTag, contents);
  }

  /** Runs `warren …` to its end, whatever that is. */
  async warren(...args: string[]): Promise<Finished> {
    return this.pipe("", ...args);
  }

  /** The same, with something on its stdin. */
  async pipe(input: string, ...args: string[]): Promise<Finished> {
    return finished(this.spawn(...args), input);
  }

  /** Runs `warren …`, which must succeed; gives what it wrote to stdout. */
  async ok(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.warren(...args);
    if (code !== 0) throw new Error(`warren ${args.join(" ")} ended with ${code}: ${stderr}`);
    return stdout;
  }

  /** `warren …` on its way, with pipes. */
  spawn(...args: string[]): ChildProcess {
    return spawn(process.execPath, [program, ...args], { env: this.env, stdio: "pipe" });
  }

  get env(): NodeJS.ProcessEnv {
    return { ...process.env, WARREN_HOST: `unix:${this.socket}`, FORCE_COLOR: "0" };
  }

  /** A service's tasks that should run, by slot. */
  async live(service: string): Promise<Task[]> {
    const { tasks } = await this.client.tasks.list({ services: [service], page: { size: 1_000, token: "" } });
    return tasks.filter(isMeantToRun).toSorted((a, b) => compareSlotKeys(a.slot, b.slot));
  }

  async running(service: string): Promise<Task[]> {
    return (await this.live(service)).filter(({ status }) => status?.state === TaskState.RUNNING);
  }

  async nodeReady(): Promise<void> {
    await until("the node is ready", async () => (await this.ok("node", "list")).includes(" ready "), 30_000);
  }

  /** Starts a daemon, which must not run. It writes to `DAEMON.log` in the data dir. */
  async startDaemon(name: DaemonName): Promise<void> {
    const log = await open(this.logPath(name), "a");
    const { address, namespace } = { ...this.bed.options, namespace: this.bed.options.namespace ?? "warren" };
    const containerd = ["--containerd", address, "--containerd-namespace", namespace];
    const folders = ["--data-dir", this.dataDir, "--run-dir", this.runDir, "--metrics-addr", "off"];
    const { workerFlags = [], workerEnv = {}, managerEnv, netns: workerNetns } = this.#options;
    const isWorker = name === "worker";
    const more = isWorker ? workerEnv : managerEnv?.(this.dataDir);
    const netns = isWorker ? workerNetns : undefined;
    const args = [program, name, ...folders, ...(isWorker ? [...containerd, ...workerFlags] : [])];
    const command = [...(netns === undefined ? [] : ["nsenter", `--net=${netns}`]), process.execPath, ...args];
    const env = { ...process.env, ...more };
    const child = spawn(command[0] ?? "", command.slice(1), { stdio: ["ignore", log.fd, log.fd], env });
    await log.close();
    this.#daemons.set(name, child);
  }

  /** Of one that was started. */
  daemonPid(name: DaemonName): number {
    const pid = this.#daemons.get(name)?.pid;
    if (pid === undefined) throw new Error(`the ${name} does not run`);
    return pid;
  }

  /** Ends a daemon as a crash does, or in order with SIGTERM. */
  async killDaemon(name: DaemonName, signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.#daemons.get(name);
    if (child === undefined) return;
    this.#daemons.delete(name);
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    await once(child, "exit");
  }

  logPath(name: DaemonName): string {
    return join(this.dataDir, `${name}.log`);
  }

  daemonLog(name: DaemonName): Promise<string> {
    return readFile(this.logPath(name), "utf8");
  }

  /** Ends the daemons, and takes away all that they made. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.client.close();
    await this.killDaemon("worker", "SIGTERM");
    await this.killDaemon("manager", "SIGTERM");
    await this.leave();
    await this.bed[Symbol.asyncDispose]();
  }

  async leave(): Promise<void> {
    const { address, namespace } = { ...this.bed.options, namespace: this.bed.options.namespace ?? "warren" };
    const containerd = ["--containerd", address, "--containerd-namespace", namespace];
    const folders = ["--data-dir", this.dataDir, "--run-dir", this.runDir];
    const args = ["cluster", "leave", "--force", "--volumes", ...folders, ...containerd];
    const { netns } = this.#options;
    const [command, before] =
      netns === undefined ? [process.execPath, []] : ["nsenter", [`--net=${netns}`, process.execPath]];
    await run(command, [...before, program, ...args], { env: this.env });
  }
}
