import { ServerCredentials, type Server } from "@grpc/grpc-js";
import {
  noMetrics,
  silentLogger,
  systemClock,
  systemRandom,
  type Clock,
  type Logger,
  type Metrics,
  type Random,
} from "@warren/std";
import type { AdmissionOptions } from "./admission.ts";
import { authorizeByRole, type Authorize } from "./authorization.ts";
import type { BoundService } from "./binding.ts";
import { grpcServer } from "./grpc.ts";
import { health } from "./health.ts";
import { alone, type Leadership } from "./leadership.ts";
import { listenerMetrics, serverMetrics } from "./metrics.ts";
import { openNetwork, type NetworkDependencies, type NetworkListener } from "./network.ts";
import { resolveAdmissionOptions, resolveServerOptions, type ServerOptions } from "./options.ts";
import { localPeer } from "./peer.ts";
import { Pipeline } from "./pipeline.ts";
import { reflection } from "./reflection.ts";
import { placeSocket } from "./socket.ts";
import type { TlsListenerOptions } from "./tls-listener.ts";

export interface PipelineDependencies {
  readonly services: readonly BoundService[];
  readonly log?: Logger;
  readonly metrics?: Metrics;
  readonly clock?: Clock;
  /** For ids of internal errors. */
  readonly random?: Random;
  /** @default authorizeByRole */
  readonly authorize?: Authorize;
  /** The route to the leader. @default every call is served here */
  readonly leadership?: Leadership;
}

/** Health and reflection are added to the services. */
export interface ServerDependencies extends PipelineDependencies {
  /** This machine's node id, read at each call on the local socket. @default the machine is not a node */
  readonly localNodeId?: () => string | undefined;
}

export interface ApiServer extends AsyncDisposable {
  readonly socketPath: string;
  /** The pipeline, for other adapters than gRPC. */
  readonly pipeline: Pipeline;
  /** Sets the status of a service in grpc.health.v1, by its full name; `""` is the server as a whole. Initially all are serving. */
  setServing(service: string, serving: boolean): void;
  /**
   * Listens for other machines too, until the listener or the server is closed.
   *
   * @throws ServerError `SERVER_OPTIONS_INVALID`, `SERVER_ADDRESS_UNUSABLE`
   */
  listen(dependencies: NetworkDependencies, options: TlsListenerOptions): Promise<NetworkListener>;
  /**
   * Accepts no more calls, ends streams with UNAVAILABLE, waits for other calls at most `graceMs`, then closes. Idempotent.
   */
  drain(options: { readonly graceMs: number }): Promise<void>;
  /** Ends everything now. Idempotent. */
  close(): Promise<void>;
}

/**
 * Creates a pipeline without a listener.
 *
 * @param leaving its abort ends every stream with UNAVAILABLE
 * @throws ServerError `SERVER_OPTIONS_INVALID`
 */
export function createPipeline(
  dependencies: PipelineDependencies,
  options: AdmissionOptions = {},
  leaving: AbortSignal = new AbortController().signal,
): Pipeline {
  const { services, clock = systemClock, random = systemRandom, metrics = noMetrics } = dependencies;
  const environment = {
    authorize: dependencies.authorize ?? authorizeByRole,
    leadership: dependencies.leadership ?? alone,
    clock,
    random,
    log: (dependencies.log ?? silentLogger).child({ component: "api" }),
    metrics: serverMetrics(metrics),
    leaving,
  };
  return new Pipeline(services, environment, resolveAdmissionOptions(options));
}

/**
 * Serves on a Unix socket, whose callers are this machine's operator and worker, and on the network after `listen`.
 *
 * @throws ServerError if it can't listen on the socket
 */
export async function startServer(dependencies: ServerDependencies, options: ServerOptions): Promise<ApiServer> {
  const resolved = resolveServerOptions(options);
  const { socketPath } = resolved;
  const { clock = systemClock, metrics = noMetrics } = dependencies;
  const log = (dependencies.log ?? silentLogger).child({ component: "api" });
  const leaving = new AbortController();
  const names = dependencies.services.map(({ definition }) => definition.fullName);
  const healthState = health(["", ...names]);
  const healthName = healthState.service.definition.fullName;
  const services = [...dependencies.services, healthState.service, ...reflection([...names, healthName])];
  const pipeline = createPipeline({ ...dependencies, services }, resolved, leaving.signal);
  const peer = localPeer(dependencies.localNodeId ?? (() => undefined));
  const local = grpcServer(pipeline, peer, resolved);
  const socket = await placeSocket(socketPath, (path) => bindSocket(local, path));
  log.info("serving", { socket: socketPath });

  const networks = new Set<NetworkListener>();
  const networkMetrics = listenerMetrics(metrics);
  let state: "serving" | "draining" | "closed" = "serving";
  const drained = Promise.withResolvers<void>();
  const close = async (): Promise<void> => {
    if (state !== "closed") {
      state = "closed";
      leaving.abort();
      local.forceShutdown();
      await Promise.all([...networks].map((network) => network.close()));
      await socket.remove();
      drained.resolve();
      log.info("closed", { socket: socketPath });
    }
    await drained.promise;
  };
  return {
    socketPath,
    pipeline,
    setServing: (service, serving) => healthState.set(service, serving),
    async listen(network, where) {
      const opened = await openNetwork({ ...network, pipeline, clock, log, metrics: networkMetrics }, where, resolved);
      networks.add(opened);
      if (state !== "serving") await opened.close();
      return opened;
    },
    close,
    [Symbol.asyncDispose]: close,
    async drain({ graceMs }) {
      if (state === "serving") {
        state = "draining";
        for (const name of ["", ...names]) healthState.set(name, false);
        const timer = clock.setTimeout(() => void close(), graceMs);
        leaving.abort();
        await Promise.race([
          Promise.all([shutdown(local), ...[...networks].map((network) => network.drain())]),
          drained.promise,
        ]);
        timer.cancel();
        await close();
      }
      await drained.promise;
    },
  };
}

function shutdown(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.tryShutdown(() => resolve());
  });
}

function bindSocket(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
}
