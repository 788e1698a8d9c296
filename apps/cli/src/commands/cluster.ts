import { rmdir } from "node:fs/promises";
import { Flags } from "@oclif/core";
import { ApiError, ClusterInfo, NodeStatus_State, ObjectKind, type Cluster } from "@warren/api";
import type { ApiClient } from "@warren/api/client";
import { toJson } from "@warren/api/json";
import { delay, systemClock } from "@warren/std";
import { isRunning, lockData, startDaemon, stopDaemon, type Folders, type Started } from "../daemons.ts";
import { folderFlags } from "../folder-flags.ts";
import type { Column } from "../output.ts";
import { parseDuration, UnitError } from "../units.ts";
import { CommandFailed, outputFlag, waitFlags, WarrenCommand } from "../warren-command.ts";

export class ClusterInit extends WarrenCommand {
  static override summary = "Make this machine the first of a new cluster.";
  static override description =
    "Starts the manager and the worker where they do not run: as systemd units where they are installed, else as processes of their own. Given again where one of them does not run, it starts that one and leaves the cluster as it is.";
  static override flags = {
    ...folderFlags,
    "manager-only": Flags.boolean({ description: "run no tasks on this machine" }),
    "task-pool": Flags.string({ description: "IPv4 subnet that each node gets a /24 of", default: "10.77.0.0/16" }),
    "vip-pool": Flags.string({ description: "IPv4 subnet of services' addresses", default: "10.96.0.0/16" }),
    "manager-flags": Flags.string({ description: "flags for the manager that is started, as one text", default: "" }),
    "worker-flags": Flags.string({ description: "flags for the worker that is started, as one text", default: "" }),
    ...waitFlags,
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(ClusterInit);
    if (process.getuid?.() !== 0)
      throw new CommandFailed("a node's daemons make network interfaces and containers: run this as root");
    const folders = { dataDir: flags["data-dir"], runDir: flags["run-dir"] };
    const deadline = AbortSignal.timeout(parseDuration(flags.timeout));
    const words = (text: string): string[] => text.split(/\s+/).filter(Boolean);
    const client = await this.connect(`unix:${folders.runDir}/manager.sock`);
    const spec = { taskPool: flags["task-pool"], vipPool: flags["vip-pool"] };
    const complete = (await isRunning("manager", folders)) && (await isRunning("worker", folders));
    const init = (): Promise<Cluster> =>
      client.clusters.init({ spec }).catch((error: unknown) => {
        if (complete || !ApiError.is(error, "API_ALREADY_EXISTS")) throw error;
        return existing(client);
      });
    const manager = await startDaemon({ ...folders, name: "manager", flags: words(flags["manager-flags"]) });
    const cluster = await answered(init, manager, deadline);
    process.stdout.write(`${cluster.meta?.id ?? ""}\n`);
    if (flags["manager-only"]) return;
    const worker = await startDaemon({ ...folders, name: "worker", flags: words(flags["worker-flags"]) });
    if (!flags.detach) await nodeReady(client, worker, deadline);
  }
}

async function existing(client: ApiClient): Promise<Cluster> {
  const { cluster } = await client.clusters.get({});
  if (cluster === undefined) throw new Error("assertion failed: a manager that has a cluster tells it");
  return cluster;
}

/** Asks until the manager that was just started answers. Its socket has no event to wait on before it is there. */
async function answered<T>(ask: () => Promise<T>, started: Started, deadline: AbortSignal): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!ApiError.is(error, "API_UNAVAILABLE")) throw error;
      if (deadline.aborted)
        throw new CommandFailed(`the manager does not answer: see ${logOf(started)}`, { cause: error });
      await delay(systemClock, 50);
    }
  }
}

async function nodeReady(client: ApiClient, worker: Started, deadline: AbortSignal): Promise<void> {
  try {
    for await (const { message } of client.events.watch({ kinds: [ObjectKind.NODE] }, { signal: deadline })) {
      if (message?.$case !== "change" || message.value.object?.$case !== "node") continue;
      const { description, status } = message.value.object.value;
      if (status?.state !== NodeStatus_State.READY) continue;
      process.stderr.write(`node ${description?.hostname ?? ""} is ready\n`);
      return;
    }
  } catch (error) {
    if (!deadline.aborted) throw error;
  }
  throw new CommandFailed(`the worker does not report itself: see ${logOf(worker)}`);
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
  static override summary = "Show the cluster.";
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
    "Take this machine out of the cluster: stop its daemons, end its tasks, remove what they had.";
  static override description =
    "Containers, images, interfaces and rules go, and so do this machine's data: its part of the cluster's state, and with --volumes its volumes. On the last manager that is the end of the cluster, so it needs --force.";
  static override flags = {
    ...folderFlags,
    force: Flags.boolean({ description: "end the cluster: this is its only manager" }),
    volumes: Flags.boolean({ description: "remove the data of volumes too" }),
    containerd: Flags.string({
      description: "containerd's socket, as the worker was told",
      default: "/run/containerd/containerd.sock",
    }),
    "containerd-namespace": Flags.string({ description: "its namespace, as the worker was told", default: "warren" }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(ClusterLeave);
    if (!flags.force)
      throw new UnitError("this machine holds the only manager, so leaving ends the cluster: give --force");
    const folders: Folders = { dataDir: flags["data-dir"], runDir: flags["run-dir"] };
    await stopDaemon("worker", folders);
    await stopDaemon("manager", folders);
    // Both locks before anything goes: a daemon that lost its pid file would go on with what is taken from under it.
    await using _worker = await lockData("worker", folders);
    await using _manager = await lockData("manager", folders);
    const { resetWorker } = await import("@warren/worker");
    await resetWorker({
      ...folders,
      keepVolumes: !flags.volumes,
      containerdSocket: flags.containerd,
      containerdNamespace: flags["containerd-namespace"],
    });
    const { resetManager } = await import("@warren/manager");
    await resetManager(folders);
    await removeEmpty(folders.dataDir);
  }
}

/** Where something else is in the folder, it stays. */
async function removeEmpty(folder: string): Promise<void> {
  try {
    await rmdir(folder);
  } catch (error) {
    if (!["ENOTEMPTY", "EEXIST", "ENOENT"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}
