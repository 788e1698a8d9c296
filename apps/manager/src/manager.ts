/** The manager, joined: a part in a cluster, the API for users and for nodes, a leader's loops. */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { machineNode } from "@warren/agent/machine";
import { DispatcherDefinition } from "@warren/api";
import { startServer, type BoundService } from "@warren/api/server";
import { controlServices, createCluster } from "@warren/control";
import {
  Ballast,
  isDiskFull,
  LastEnd,
  lockDirectory,
  pinoLogger,
  prometheusMetrics,
  startHealthServer,
  terminationSignal,
  writePidFile,
} from "@warren/daemon";
import type { Dispatcher } from "@warren/dispatcher";
import { bindToMember, leadershipOf, Membership, memberOf, removeMembership } from "@warren/membership";
import { aborted, errorText, systemClock, systemRandom } from "@warren/std";
import type { ManagerOptions } from "./options.ts";
import { joinParts, type Base } from "./parts.ts";

/** How long calls that are under way may take to end, ms. */
const drainMs = 2_000;

/** Runs a manager until SIGTERM or SIGINT. @throws what keeps it from starting, and what ends its log */
export async function runManager(options: ManagerOptions): Promise<void> {
  const signal = terminationSignal();
  const log = pinoLogger({ level: options.logLevel });
  const prometheus = prometheusMetrics();
  const base: Base = { clock: systemClock, random: systemRandom, log, metrics: prometheus.metrics };
  await mkdir(options.runDir, { recursive: true, mode: 0o700 });
  await using resources = new AsyncDisposableStack();
  // First of all: what is in the folder is one manager's, whatever became of pid files and sockets.
  resources.use(await lockDirectory(managerDirectory(options)));
  resources.use(await writePidFile(join(options.runDir, "manager.pid"), "manager"));
  const lastEnd = new LastEnd(options.runDir, "manager");
  await lastEnd.clear();
  const ballast = await Ballast.open(managerDirectory(options));
  if (!ballast.held) log.warn("no room is kept back for recovery: the disk is nearly full", { path: options.dataDir });

  // The local socket speaks for the node that this machine's worker is, whose record is beside the manager's.
  const localNodeId = machineNode(join(options.dataDir, "worker", "record"));
  const membership = resources.use(
    await Membership.open(
      { ...base, version: options.version, nodeId: localNodeId, join: (store) => joinParts(base, store) },
      managerDirectory(options),
    ),
  );
  const services = servicesOf(membership, base, options.version);
  const server = await startServer(
    { services, localNodeId, leadership: leadershipOf(membership), ...base },
    { socketPath: join(options.runDir, "manager.sock") },
  );
  resources.defer(() => server.drain({ graceMs: drainMs }));
  if (options.metricsAddress !== undefined)
    resources.use(
      await startHealthServer(prometheus, () => unreadiness(membership), { address: options.metricsAddress }),
    );
  log.info("manager runs", { part: membership.part.kind });
  try {
    await Promise.race([aborted(signal), membership.failed]);
  } catch (error) {
    // What it can't keep it may not acknowledge, so that it ends; the next start has the room that was kept back.
    const full = isDiskFull(error);
    const freed = full && (await ballast.giveUp());
    const room = freed ? " (the room that was kept back for this is free now)" : "";
    const remedy = full
      ? `make room on the disk of ${options.dataDir}${room}, and start it again`
      : "see its log, mend what failed, and start it again";
    await lastEnd.write(`the manager ended by itself: ${errorText(error)}; ${remedy}`);
    log.error("manager ends by itself", { error, remedy });
    throw error;
  }
  log.info("manager ends");
}

function servicesOf(membership: Membership<Dispatcher>, base: Base, version: string): readonly BoundService[] {
  const { clock, random, log } = base;
  const dispatcher = (): Dispatcher => memberOf(membership.part).work;
  return [
    ...controlServices({
      store: () => (membership.part.kind === "none" ? undefined : memberOf(membership.part).store),
      initCluster: (spec) =>
        membership.found(({ store, clusterId }) => createCluster(store, spec, { id: clusterId, random })),
      relay: {
        logs: (...call) => dispatcher().relay.logs(...call),
        exec: (...call) => dispatcher().relay.exec(...call),
        stats: (...call) => dispatcher().relay.stats(...call),
        portForward: (...call) => dispatcher().relay.portForward(...call),
        image: (...call) => dispatcher().relay.image(...call),
        volumes: (...call) => dispatcher().relay.volumes(...call),
        deleteVolume: (...call) => dispatcher().relay.deleteVolume(...call),
        images: (...call) => dispatcher().relay.images(...call),
        pruneImages: (...call) => dispatcher().relay.pruneImages(...call),
        login: (...call) => dispatcher().relay.login(...call),
      },
      version,
      clock,
      random,
      log,
    }),
    bindToMember(DispatcherDefinition, membership, ({ work }) => work.handlers),
  ];
}

function unreadiness({ part }: Membership<Dispatcher>): string | undefined {
  switch (part.kind) {
    case "none":
      return "there is no cluster yet";
    case "locked":
      return part.error.message;
    case "member":
      return part.member.hasLeader() ? undefined : "no manager leads";
  }
}

function managerDirectory({ dataDir }: { readonly dataDir: string }): string {
  return join(dataDir, "manager");
}

/** Removes all that a manager keeps. It must have ended. */
export async function resetManager(options: { readonly dataDir: string; readonly runDir: string }): Promise<void> {
  await removeMembership(managerDirectory(options));
  await rm(join(options.dataDir, "manager.log"), { force: true });
}
