import {
  Server,
  ServerCredentials,
  type UntypedServiceImplementation,
  type ServiceDefinition as GrpcService,
} from "@grpc/grpc-js";
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
import { authorizeByRole, type Authorize } from "./authorization.ts";
import type { BoundService } from "./binding.ts";
import { grpcMethod, type CallEnvironment } from "./calls.ts";
import { health } from "./health.ts";
import { serverMetrics } from "./metrics.ts";
import { resolveServerOptions, type ServerOptions } from "./options.ts";
import { reflection } from "./reflection.ts";
import { placeSocket } from "./socket.ts";

export interface ServerDependencies {
  /** Health and reflection are added to them. */
  readonly services: readonly BoundService[];
  readonly log?: Logger;
  readonly metrics?: Metrics;
  readonly clock?: Clock;
  /** For ids of internal errors. */
  readonly random?: Random;
  /** @default authorizeByRole */
  readonly authorize?: Authorize;
}

export interface ApiServer extends AsyncDisposable {
  readonly socketPath: string;
  /** What grpc.health.v1 tells of a service, by its full name; `""` is the server as a whole. All serve at first. */
  setServing(service: string, serving: boolean): void;
  /**
   * Takes no more calls, ends streams with UNAVAILABLE, waits for the others at most `graceMs`, then closes. Idempotent.
   */
  drain(options: { readonly graceMs: number }): Promise<void>;
  /** Ends everything now. Idempotent. */
  close(): Promise<void>;
}

/**
 * Serves on a Unix socket, whose callers are the identity `local`.
 *
 * @throws ServerError if the socket can't be had
 */
export async function startServer(dependencies: ServerDependencies, options: ServerOptions): Promise<ApiServer> {
  const { socketPath, maxRequestBytes, maxConcurrentCalls } = resolveServerOptions(options);
  const { clock = systemClock, random = systemRandom, authorize = authorizeByRole } = dependencies;
  const log = (dependencies.log ?? silentLogger).child({ component: "api" });
  const leaving = new AbortController();
  const environment: CallEnvironment = {
    authorize,
    clock,
    random,
    log,
    metrics: serverMetrics(dependencies.metrics ?? noMetrics),
    leaving: leaving.signal,
  };
  const names = dependencies.services.map(({ definition }) => definition.fullName);
  const healthState = health(["", ...names]);
  const healthName = healthState.service.definition.fullName;
  const services = [...dependencies.services, healthState.service, ...reflection([...names, healthName])];
  const server = new Server({
    "grpc.max_receive_message_length": maxRequestBytes,
    "grpc.max_send_message_length": -1,
    "grpc.max_concurrent_streams": maxConcurrentCalls,
  });
  for (const service of services) addService(server, service, environment);
  const socket = await placeSocket(socketPath, (path) => listen(server, path));
  log.info("serving", { socket: socketPath });

  let state: "serving" | "draining" | "closed" = "serving";
  const drained = Promise.withResolvers<void>();
  const close = async (): Promise<void> => {
    if (state !== "closed") {
      state = "closed";
      leaving.abort();
      server.forceShutdown();
      await socket.remove();
      drained.resolve();
      log.info("closed", { socket: socketPath });
    }
    await drained.promise;
  };
  return {
    socketPath,
    setServing: (service, serving) => healthState.set(service, serving),
    close,
    [Symbol.asyncDispose]: close,
    async drain({ graceMs }) {
      if (state === "serving") {
        state = "draining";
        for (const name of ["", ...names]) healthState.set(name, false);
        const timer = clock.setTimeout(() => void close(), graceMs);
        leaving.abort();
        server.tryShutdown(() => {
          timer.cancel();
          void close();
        });
      }
      await drained.promise;
    },
  };
}

function addService(server: Server, service: BoundService, environment: CallEnvironment): void {
  const definition: Record<string, GrpcService[string]> = {};
  const handlers: UntypedServiceImplementation = {};
  for (const [name, method] of Object.entries(service.definition.methods)) {
    const bound = grpcMethod(service, name, method, environment);
    definition[name] = bound.definition as GrpcService[string];
    handlers[name] = bound.handler;
  }
  server.addService(definition, handlers);
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
}
