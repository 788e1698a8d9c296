import { AsyncQueue } from "@warren/std";
import { ApiError } from "../errors.ts";
import { HealthCheckResponse_ServingStatus, HealthDefinition } from "../generated/grpc/health/v1/health.ts";
import { bind, type BoundService } from "./binding.ts";

type Status = HealthCheckResponse_ServingStatus;
const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;

/** grpc.health.v1, for each service by its full name, and for the server as a whole as `""`. */
export interface Health {
  readonly service: BoundService;
  set(service: string, serving: boolean): void;
}

export function health(services: readonly string[]): Health {
  const states = new Map<string, Status>(services.map((name) => [name, SERVING]));
  const watchers = new Map<string, Set<AsyncQueue<Status>>>();
  return {
    set(name, serving) {
      const state = serving ? SERVING : NOT_SERVING;
      if (states.get(name) === state) return;
      states.set(name, state);
      for (const watcher of watchers.get(name) ?? []) {
        watcher.drain(); // Only the newest status is kept, so that a slow reader costs nothing.
        watcher.push(state);
      }
    },
    service: bind(HealthDefinition, {
      check({ service }) {
        const status = states.get(service);
        if (status !== undefined) return { status };
        throw new ApiError(
          { code: "API_NOT_FOUND", kind: "gRPC service", ref: service },
          `no service "${service}" is served here`,
        );
      },
      async *watch({ service }, { signal }) {
        const queue = new AsyncQueue<Status>();
        const others = watchers.get(service) ?? new Set();
        watchers.set(service, others.add(queue));
        const end = (): void => queue.close();
        signal.addEventListener("abort", end, { once: true });
        try {
          let last = states.get(service) ?? SERVICE_UNKNOWN;
          yield { status: last };
          for await (const status of queue) {
            if (status !== last) yield { status };
            last = status;
          }
        } finally {
          signal.removeEventListener("abort", end);
          others.delete(queue);
          if (others.size === 0) watchers.delete(service);
        }
      },
    }),
  };
}
