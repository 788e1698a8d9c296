import { existsSync } from "node:fs";
import { readdir, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { Errors, Flags } from "@oclif/core";
import { ApiError, ClusterInfo, NodeStatus_State, ObjectKind, type Cluster } from "@warren/api";
import type { ApiClient } from "@warren/api/client";
import { defaultTaskPool, defaultVipPool } from "@warren/api/model";
import { toJson } from "../json.ts";
import { delay, systemClock } from "@warren/std";
import { isRunning, lockData, startDaemon, stopDaemon, type Started } from "../daemons.ts";
import { flagFile, readFlagFile } from "../flag-file.ts";
import { folderFlags, foldersOf, type DaemonName, type Folders } from "../folders.ts";
import { printable, type Column } from "../output.ts";
import { pages } from "../pages.ts";
import { splitWords } from "../service/flag-syntax.ts";
import { longestTimerMs, parseDuration, UnitError } from "../units.ts";
import { ManagerCommand, WorkerCommand } from "./daemon.ts";
import { CommandFailed, outputFlag, waitFlags, WarrenCommand } from "../warren-command.ts";

export class ClusterInit extends WarrenCommand {
  static override summary = "Make this machine the first of a new cluster.";
  static override description =
    "Starts the manager and the worker where they do not run: as systemd units where they are installed, else as processes of their own. Given again where one of them does not run, it starts that one and leaves the cluster as it is.";
  static override flags = {
    ...folderFlags,
    "manager-only": Flags.boolean({ description: "Start no worker, so that no tasks run on this machine" }),
    "task-pool": Flags.string({
      description: "IPv4 subnet for tasks; each node gets a /24 of it",
      helpValue: "SUBNET",
      default: defaultTaskPool,
    }),
    "vip-pool": Flags.string({
      description: "IPv4 subnet for the addresses of services",
      helpValue: "SUBNET",
      default: defaultVipPool,
    }),
    "manager-flags": Flags.string({
      description: "Flags that the manager has from now on, as one text: see 'warren manager --help'",
      helpValue: "FLAGS",
    }),
    "worker-flags": Flags.string({
      description: "Flags that the worker has from now on, as one text: see 'warren worker --help'",
      helpValue: "FLAGS",
    }),
    ...waitFlags,
  };
  static override fieldWords = { "spec.task_pool": "--task-pool", "spec.vip_pool": "--vip-pool" };

  async run(): Promise<void> {
    const { flags, metadata } = await this.parse(ClusterInit);
    if (process.getuid?.() !== 0)
      throw new CommandFailed("a node's daemons make network interfaces and containers: run this as root");
    const folders = foldersOf(flags);
    if (flags["manager-only"] && flags["worker-flags"] !== undefined)
      throw new UnitError("--worker-flags: --manager-only starts no worker: leave one of them out");
    const daemonFlags = {
      manager: await this.#checkedFlags("manager", flags["manager-flags"]),
      worker: await this.#checkedFlags("worker", flags["worker-flags"]),
    };
    const deadline = AbortSignal.timeout(parseDuration(flags.timeout, longestTimerMs));
    const client = await this.connect(`unix:${folders.runDir}/manager.sock`);
    const spec = { taskPool: flags["task-pool"], vipPool: flags["vip-pool"] };
    const runs = { manager: await isRunning("manager", folders), worker: await isRunning("worker", folders) };
    const init = (): Promise<Cluster> =>
      client.clusters.init({ spec }).catch((error: unknown) => {
        if ((runs.manager && runs.worker) || !ApiError.is(error, "API_ALREADY_EXISTS")) throw error;
        const asked = (name: keyof typeof spec, flag: keyof typeof flags): string =>
          metadata.flags[flag]?.setFromDefault === true ? "" : spec[name];
        return existing(client, { taskPool: asked("taskPool", "task-pool"), vipPool: asked("vipPool", "vip-pool") });
      });
    const manager = await startDaemon({ ...folders, name: "manager", flags: daemonFlags.manager });
    const cluster = await answered(init, manager, deadline, runs.manager ? folders.runDir : undefined);
    process.stdout.write(`${cluster.meta?.id ?? ""}\n`);
    if (flags["manager-only"]) return;
    const before = await lives(client);
    const worker = await startDaemon({ ...folders, name: "worker", flags: daemonFlags.worker });
    if (!flags.detach) await nodeReady(client, worker, runs.worker ? new Set() : before, deadline);
    if (!runs.manager) process.stderr.write(nextSteps);
  }

  /** The words of a daemon's flags, each of which it knows. @throws UnitError */
  async #checkedFlags(name: DaemonName, text: string | undefined): Promise<string[] | undefined> {
    if (text === undefined) return undefined;
    try {
      const words = splitWords(text);
      const folder = words.find((word) => /^--(data|run)-dir(=|$)/.test(word));
      if (folder !== undefined) throw new UnitError(`give ${folder} to cluster init itself`);
      await this.parse(name === "manager" ? ManagerCommand : WorkerCommand, words);
      return words;
    } catch (error) {
      if (!(error instanceof UnitError || error instanceof Errors.CLIError)) throw error;
      const text = error.message.replace(/^Parsing (--\S+) \n\t/, "$1: ").split("\n")[0];
      throw new UnitError(`--${name}-flags: ${text}`);
    }
  }
}

const nextSteps = `next:
  warren service create web --image nginx --replicas 2 -p 8080:80
  warren service list
  warren why web
`;

/** Of all nodes' workers, the numbers that they made at their starts. */
async function lives(client: ApiClient): Promise<ReadonlySet<number>> {
  const nodes = await pages(
    (page) => client.nodes.list({ page }),
    (answer) => answer.nodes,
  );
  return new Set(nodes.map(({ description }) => description?.life ?? 0));
}

/** @param asked subnets that were named; empty for none. @throws UnitError where the cluster has others */
async function existing(client: ApiClient, asked: { taskPool: string; vipPool: string }): Promise<Cluster> {
  const { cluster } = await client.clusters.get({});
  if (cluster === undefined) throw new Error("assertion failed: a manager that has a cluster tells it");
  const { taskPool = "", vipPool = "" } = cluster.spec ?? {};
  const flags = [
    ["--task-pool", asked.taskPool, taskPool],
    ["--vip-pool", asked.vipPool, vipPool],
  ] as const;
  for (const [flag, wanted, has] of flags)
    if (wanted !== "" && wanted !== has)
      throw new UnitError(`${flag}: the cluster that is here has ${has} and keeps it: leave the flag out`);
  return cluster;
}

/** Longest that a manager which runs may be without its socket, ms: it makes it soon after its start. */
const socketLimitMs = 10_000;

/**
 * Asks until the manager answers. Its socket has no event to wait on before it is there.
 *
 * @param runDir of one that ran before, whose socket may have been taken away
 */
export async function answered<T>(
  ask: () => Promise<T>,
  started: Started,
  deadline: AbortSignal,
  runDir: string | undefined,
): Promise<T> {
  const over = endOf(started);
  const late = AbortSignal.timeout(socketLimitMs);
  let wasLate = false;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      // A slow machine's manager may need longer to found its cluster than a call waits: asked again, it says that it is
      // at it, and then what it has.
      const isLate: boolean = ApiError.is(error, "API_DEADLINE") || (wasLate && ApiError.is(error, "API_ABORTED"));
      wasLate ||= isLate;
      if (!isLate && !ApiError.is(error, "API_UNAVAILABLE")) throw error;
      if (over.aborted) throw new CommandFailed(`the manager has ended: see ${logOf(started)}`);
      if (runDir !== undefined && late.aborted && !existsSync(`${runDir}/manager.sock`))
        throw new CommandFailed(
          `the manager runs, but its socket in ${runDir} is gone: end it (kill $(cat ${runDir}/manager.pid)), then repeat`,
        );
      if (deadline.aborted)
        throw new CommandFailed(`the manager does not answer: see ${logOf(started)}`, { cause: error });
      await delay(systemClock, 50);
    }
  }
}

/** Aborted once a daemon that we started has ended. */
function endOf(started: Started): AbortSignal {
  const over = new AbortController();
  if (started.kind === "process") void started.ended.then(() => over.abort());
  return over.signal;
}

/** Waits until a worker that is none of `before` has reported that it is ready: a node's state may be of an earlier one. */
export async function nodeReady(
  client: { readonly events: Pick<ApiClient["events"], "watch"> },
  worker: Started,
  before: ReadonlySet<number>,
  deadline: AbortSignal,
): Promise<void> {
  const over = endOf(worker);
  const signal = AbortSignal.any([deadline, over]);
  let obstacle = "";
  try {
    for await (const { message } of client.events.watch({ kinds: [ObjectKind.NODE] }, { signal })) {
      if (message?.$case !== "change" || message.value.object?.$case !== "node") continue;
      const { description, status } = message.value.object.value;
      if (before.has(description?.life ?? 0)) continue;
      if (status?.state !== NodeStatus_State.READY) {
        // It may go away by itself, as when the manager was just started.
        const why = printable(`node ${description?.hostname ?? ""} is not ready: ${status?.message ?? ""}`);
        if (why !== obstacle) process.stderr.write(`${why}\n`);
        obstacle = why;
        continue;
      }
      process.stderr.write(`node ${description?.hostname ?? ""} is ready\n`);
      return;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  if (over.aborted) throw new CommandFailed(`the worker has ended: see ${logOf(worker)}`);
  throw new CommandFailed(
    obstacle === "" ? `the worker has not registered: see ${logOf(worker)}` : `${obstacle}; see ${logOf(worker)}`,
  );
}

function logOf(started: Started): string {
  return started.kind === "unit" ? `journalctl -u ${started.unit}` : started.log;
}

const infoColumns: readonly Column<ClusterInfo>[] = [
  { title: "CLUSTER", value: ({ cluster }) => cluster?.meta?.id ?? "" },
  { title: "VERSION", value: ({ version }) => version },
  { title: "NODES READY", value: (info) => `${info.nodesReady}/${info.nodes}` },
  { title: "SERVICES", value: ({ services }) => String(services) },
  { title: "TASKS RUNNING", value: ({ tasksRunning }) => String(tasksRunning) },
  { title: "TASK POOL", value: ({ cluster }) => cluster?.spec?.taskPool ?? "" },
  { title: "VIP POOL", value: ({ cluster }) => cluster?.spec?.vipPool ?? "" },
];

export class ClusterInfoCommand extends WarrenCommand {
  static override summary = "Show the cluster: its id, version, nodes and tasks.";
  static override flags = outputFlag;

  async run(): Promise<void> {
    const { flags } = await this.parse(ClusterInfoCommand);
    const client = await this.connect(flags.host);
    const info = await client.clusters.get({});
    await this.print(flags.output, {
      rows: [info],
      columns: infoColumns,
      name: ({ cluster }) => cluster?.meta?.id ?? "",
      json: () => toJson(ClusterInfo, info),
    });
  }
}

export class ClusterLeave extends WarrenCommand {
  static override summary =
    "Take this machine out of the cluster: stop its daemons, end its tasks, remove their containers, images, interfaces and rules.";
  static override description =
    "Containers, images, interfaces and rules go, and so do this machine's data: its part of the cluster's state, and with --volumes its volumes. On the last manager that is the end of the cluster, so it needs --force.";
  static override flags = {
    ...folderFlags,
    "dry-run": Flags.boolean({ description: "Say what would go, and change nothing" }),
    force: Flags.boolean({ description: "Confirm that the cluster ends with this, its only manager" }),
    volumes: Flags.boolean({ description: "Remove the data of volumes, too" }),
    containerd: Flags.string({
      description: "Socket of containerd (default: as the worker has it)",
      helpValue: "PATH",
    }),
    "containerd-namespace": Flags.string({
      description: "Namespace in containerd (default: as the worker has it)",
      helpValue: "NAME",
    }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(ClusterLeave);
    const folders = foldersOf(flags);
    if (flags["dry-run"]) {
      process.stdout.write(`${leavePlan(await this.#what(folders), folders, flags.volumes)}\n`);
      return;
    }
    if (!flags.force)
      throw new UnitError(
        "this machine holds the only manager, so leaving ends the cluster: see what goes with --dry-run, then give --force",
      );
    const { flags: worker } = await this.parse(WorkerCommand, readFlagFile("worker", folders));
    const what = await this.#what(folders);
    const step = (text: string): void => void process.stderr.write(`${text}\n`);
    step("stopping the worker and the manager");
    await stopDaemon("worker", folders);
    await stopDaemon("manager", folders);
    // Both locks before anything goes: a daemon that lost its pid file would go on with what is taken from under it.
    await using _worker = await lockData("worker", folders);
    await using _manager = await lockData("manager", folders);
    step("removing containers, images, interfaces and rules");
    const { resetWorker } = await import("@warren/worker");
    await resetWorker({
      ...folders,
      keepVolumes: !flags.volumes,
      containerdSocket: flags.containerd ?? worker.containerd,
      containerdNamespace: flags["containerd-namespace"] ?? worker["containerd-namespace"],
    });
    step("removing the cluster's state");
    const { resetManager } = await import("@warren/manager");
    await resetManager(folders);
    for (const name of ["manager", "worker"] as const) await rm(flagFile(name, folders), { force: true });
    for (const directory of [folders.dataDir, folders.runDir]) await removeIfEmpty(directory);
    const stay = flags.volumes || what.volumes.length === 0 ? "" : `; ${volumesStay(what.volumes, folders)}`;
    step(`this machine has left: the cluster has ended${stay}`);
  }

  /** What is there to lose, as far as it can be seen. */
  async #what(folders: Folders): Promise<Losses> {
    const volumes = await readdir(volumesIn(folders)).catch(() => []);
    if (!(await isRunning("manager", folders))) return { volumes, counts: undefined };
    const client = await this.connect(`unix:${folders.runDir}/manager.sock`);
    try {
      const { services, tasksRunning } = await client.clusters.get({});
      return { volumes, counts: { services, tasksRunning } };
    } catch (error) {
      // One that does not answer is left, too.
      if (!ApiError.is(error)) throw error;
      return { volumes, counts: undefined };
    }
  }
}

interface Losses {
  readonly volumes: readonly string[];
  /** Undefined where the manager can't be asked. */
  readonly counts: { readonly services: number; readonly tasksRunning: number } | undefined;
}

function volumesIn({ dataDir }: Folders): string {
  return join(dataDir, "worker", "volumes");
}

function volumesStay(volumes: readonly string[], folders: Folders): string {
  return `${volumes.length} volume${volumes.length === 1 ? "" : "s"} stay${volumes.length === 1 ? "s" : ""} in ${volumesIn(folders)}: ${volumes.join(", ")}`;
}

/** What leaving would do. Pure. */
export function leavePlan({ volumes, counts }: Losses, folders: Folders, withVolumes: boolean): string {
  const { services = 0, tasksRunning = 0 } = counts ?? {};
  const ends =
    counts === undefined
      ? "the cluster would end; the manager does not answer, so what runs in it is not known"
      : `the cluster would end, with its ${services} service${services === 1 ? "" : "s"} and ${tasksRunning} running task${tasksRunning === 1 ? "" : "s"}`;
  const fate = withVolumes ? `volumes would be removed: ${volumes.join(", ")}` : volumesStay(volumes, folders);
  return [
    ends,
    "containers, images, interfaces and rules of Warren would be removed from this machine",
    ...(volumes.length === 0 ? [] : [fate]),
  ].join("\n");
}

/** Volumes that stay keep it. */
async function removeIfEmpty(directory: string): Promise<void> {
  try {
    await rmdir(directory);
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (!["ENOENT", "ENOTEMPTY", "EBUSY"].includes(code)) throw error;
  }
}
