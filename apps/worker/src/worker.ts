/** The worker, joined: agent, container runtime, network, session. */
import { hostname } from "node:os";
import { grpcSession, NodeConditions, onKeptRoom, openLevelState, startAgent, type Agent } from "@warren/agent";
import { connect } from "@warren/api/client";
import {
  Ballast,
  extendStop,
  isDiskFull,
  lockDirectory,
  machineGoesDown,
  pinoLogger,
  prometheusMetrics,
  startHealthServer,
  terminationSignal,
  writePidFile,
} from "@warren/daemon";
import { openContainerd } from "@warren/runtime-containerd";
import { aborted, systemClock, systemRandom } from "@warren/std";
import { containerdOptions, workerFolders } from "./folders.ts";
import type { WorkerOptions } from "./options.ts";
import { runtimeConditions } from "./node-conditions.ts";
import { NodeTaskNetwork } from "./task-network.ts";

/** More than the tasks' own time, ms: for what the worker does when they have ended. */
const stopMarginMs = 30_000;

/** Runs a worker until SIGTERM or SIGINT. Its tasks go on without it, unless the machine goes down. */
export async function runWorker(options: WorkerOptions): Promise<void> {
  const signal = terminationSignal();
  const log = pinoLogger({ level: options.logLevel });
  const prometheus = prometheusMetrics();
  const { metrics } = prometheus;
  const folders = workerFolders(options);
  const base = { clock: systemClock, random: systemRandom, log, metrics };
  await using resources = new AsyncDisposableStack();
  resources.use(await lockDirectory(folders.data));
  resources.use(await writePidFile(folders.pidFile, "worker"));

  let agent: Agent | undefined;
  if (options.metricsAddress !== undefined) {
    const notReady = (): string | undefined => {
      if (agent?.adopted !== true) return "the tasks that ran before are not adopted yet";
      return undefined;
    };
    resources.use(await startHealthServer(prometheus, notReady, { address: options.metricsAddress }));
  }
  // First of all that outlives the process: LevelDB's lock keeps a second worker out.
  const ballast = await Ballast.open(folders.data);
  const conditions = new NodeConditions(base);
  const opened = await openLevelState(folders.state);
  resources.defer(() => opened.close());
  const state = onKeptRoom(opened, ballast, { conditions, directory: folders.data, isDiskFull });
  const { runtime } = resources.use(await openContainerd(base, containerdOptions(options), signal));
  conditions.set("runtime", runtimeConditions(await runtime.info()));
  const network = new NodeTaskNetwork(
    { ...base, conditions },
    {
      netnsDirectory: folders.netns,
      ...(options.dnsUpstreams === undefined ? {} : { dnsUpstreams: options.dnsUpstreams }),
    },
  );
  resources.defer(() => network.close());
  const manager = connect({ socket: options.managerSocket });
  resources.use(manager);
  agent = await startAgent(
    { ...base, conditions, runtime, network, session: grpcSession(manager.dispatcher), state },
    {
      dataDir: folders.data,
      hostname: hostname(),
      version: options.version,
      imageGraceMs: options.imageGraceMs,
      keepEndedMs: options.logGraceMs,
    },
  );
  resources.use(agent);
  log.info("worker runs", { nodeId: agent.nodeId });
  await aborted(signal);
  if (await machineGoesDown()) {
    log.info("the machine goes down: tasks end by their own grace");
    await agent.endWithMachine((mostMs) => extendStop(mostMs + stopMarginMs));
    log.info("worker ends; its tasks have ended");
    return;
  }
  log.info("worker ends; its tasks go on");
}
