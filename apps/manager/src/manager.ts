/** The manager, joined: a store on consensus, the API for users and for nodes, a leader's loops. */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { ApiError, DispatcherDefinition, type Cluster, type ClusterSpec } from "@warren/api";
import { bind, startServer, type BoundService } from "@warren/api/server";
import { controlServices, createCluster } from "@warren/control";
import { pinoLogger, prometheusMetrics, startHealthServer, terminationSignal, writePidFile } from "@warren/daemon";
import { Dispatcher } from "@warren/dispatcher";
import { startOrchestrator } from "@warren/orchestrator";
import type { RaftNode } from "@warren/raft";
import {
  aborted,
  logFailures,
  newId,
  systemClock,
  systemRandom,
  TaskGroup,
  type Clock,
  type Logger,
  type Metrics,
  type Random,
} from "@warren/std";
import { raftProposer, Store, StoreStateMachine } from "@warren/store";
import { readClusterId, writeClusterId } from "./cluster-id.ts";
import { openConsensus } from "./consensus.ts";
import type { ManagerOptions } from "./options.ts";
import { whileLeading } from "./while-leading.ts";

/** How long calls that are under way may take to end, ms. */
const drainMs = 2_000;

interface Base {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** A manager's part in a cluster. */
interface Membership extends AsyncDisposable {
  readonly store: Store;
  readonly dispatcher: Dispatcher;
  readonly node: RaftNode;
}

/** Runs a manager until SIGTERM or SIGINT. @throws what keeps it from starting, and what ends its log */
export async function runManager(options: ManagerOptions): Promise<void> {
  const signal = terminationSignal();
  const log = pinoLogger({ level: options.logLevel });
  const prometheus = prometheusMetrics();
  const base: Base = { clock: systemClock, random: systemRandom, log, metrics: prometheus.metrics };
  const directory = managerDirectory(options);
  await mkdir(options.runDir, { recursive: true, mode: 0o700 });
  await using resources = new AsyncDisposableStack();
  resources.use(await writePidFile(join(options.runDir, "manager.pid"), "manager"));

  let membership: Membership | undefined;
  const failed = Promise.withResolvers<never>();
  const enter = async (clusterId: string): Promise<Membership> => {
    membership = resources.use(await joinCluster(base, directory, clusterId));
    void membership.node.done.then((error) => error !== undefined && failed.reject(error));
    return membership;
  };
  const clusterId = await readClusterId(directory);
  if (clusterId !== undefined) await enter(clusterId);

  const initCluster = async (spec: ClusterSpec): Promise<Cluster> => {
    // A manager that was ended halfway through goes on with the log that it made.
    const known = await readClusterId(directory);
    const id = known ?? newId(base.random);
    if (known === undefined) await writeClusterId(directory, id);
    const { store } = membership ?? (await enter(id));
    return createCluster(store, spec, id);
  };
  const { clock, random } = base;
  const services: readonly BoundService[] = [
    ...controlServices({
      store: () => membership?.store,
      initCluster,
      relay: {
        logs: (...call) => memberOf(membership).dispatcher.relay.logs(...call),
        exec: (...call) => memberOf(membership).dispatcher.relay.exec(...call),
        stats: (...call) => memberOf(membership).dispatcher.relay.stats(...call),
      },
      version: options.version,
      clock,
      random,
      log,
    }),
    bind(DispatcherDefinition, {
      session: (...call) => memberOf(membership).dispatcher.handlers.session(...call),
      heartbeat: (...call) => memberOf(membership).dispatcher.handlers.heartbeat(...call),
      updateTaskStatus: (...call) => memberOf(membership).dispatcher.handlers.updateTaskStatus(...call),
      assignments: (...call) => memberOf(membership).dispatcher.handlers.assignments(...call),
      relay: (...call) => memberOf(membership).dispatcher.handlers.relay(...call),
    }),
  ];
  const server = await startServer({ services, ...base }, { socketPath: join(options.runDir, "manager.sock") });
  resources.defer(() => server.drain({ graceMs: drainMs }));
  if (options.metricsAddress !== undefined) {
    const notReady = (): string | undefined => {
      if (membership === undefined) return "there is no cluster yet";
      return membership.node.leadership().leader === undefined ? "no manager leads" : undefined;
    };
    resources.use(await startHealthServer(prometheus, notReady, { address: options.metricsAddress }));
  }
  log.info("manager runs", { cluster: clusterId ?? "none yet" });
  await Promise.race([aborted(signal), failed.promise]);
  log.info("manager ends");
}

function memberOf(membership: Membership | undefined): Membership {
  if (membership !== undefined) return membership;
  throw new ApiError({ code: "API_UNAVAILABLE" }, "this manager has no cluster yet", {
    remedy: "make one with 'warren cluster init'",
  });
}

/** Opens this manager's log and runs what a leader runs while it leads. */
async function joinCluster(base: Base, directory: string, clusterId: string): Promise<Membership> {
  const { clock, random, log, metrics } = base;
  await using opened = new AsyncDisposableStack();
  const machine = new StoreStateMachine({ metrics });
  const node = opened.use(await openConsensus({ ...base, fsm: machine }, join(directory, "raft"), clusterId));
  const store = new Store({ clock, random, machine, proposer: raftProposer(node), log, metrics });
  const dispatcher = new Dispatcher({ store, ...base });
  opened.use(
    whileLeading(node, log, () => {
      const group = new TaskGroup(logFailures(log));
      group.run("dispatcher", (signal) => dispatcher.run(signal));
      const orchestrator = startOrchestrator({ store, ...base });
      return {
        async [Symbol.asyncDispose]() {
          await Promise.all([group.close(), orchestrator.close()]);
        },
      };
    }),
  );
  const resources = opened.move();
  return { store, dispatcher, node, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

function managerDirectory({ dataDir }: { readonly dataDir: string }): string {
  return join(dataDir, "manager");
}

/** Removes all that a manager keeps. It must have ended. */
export async function resetManager(options: { readonly dataDir: string; readonly runDir: string }): Promise<void> {
  await rm(managerDirectory(options), { recursive: true, force: true });
  await rm(join(options.dataDir, "manager.log"), { force: true });
}
