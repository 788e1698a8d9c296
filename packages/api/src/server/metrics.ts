import type { Counter, Gauge, Histogram, Metrics } from "@warren/std";

export interface ServerMetrics {
  readonly requests: Counter;
  readonly seconds: Histogram;
  readonly streams: Gauge;
}

export function serverMetrics(metrics: Metrics): ServerMetrics {
  return {
    requests: metrics.counter({
      name: "warren_api_requests_total",
      help: "Calls that ended, by method and gRPC status",
      labels: ["method", "status"],
    }),
    seconds: metrics.histogram({
      name: "warren_api_request_seconds",
      help: "From a call's arrival to its answer; streams are not counted",
      labels: ["method"],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    }),
    streams: metrics.gauge({
      name: "warren_api_open_streams",
      help: "Streams that are open now",
      labels: ["method"],
    }),
  };
}
