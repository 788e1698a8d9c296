import type { Counter, Gauge, Histogram, Metrics } from "@warren/std";

export interface ServerMetrics {
  readonly requests: Counter;
  readonly seconds: Histogram;
  readonly streams: Gauge;
  readonly forwarded: Counter;
}

export function serverMetrics(metrics: Metrics): ServerMetrics {
  return {
    requests: metrics.counter({
      name: "warren_api_requests_total",
      help: "Calls that ended, by method and status",
      labels: ["method", "status"],
    }),
    seconds: metrics.histogram({
      name: "warren_api_request_seconds",
      help: "From a call's arrival to its response; streams are not counted",
      labels: ["method"],
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    }),
    streams: metrics.gauge({
      name: "warren_api_open_streams",
      help: "Streams that are open now",
      labels: ["method"],
    }),
    forwarded: metrics.counter({
      name: "warren_api_forwarded_total",
      help: "Calls that this manager forwarded to the leader",
      labels: ["method"],
    }),
  };
}

export interface ListenerMetrics {
  readonly refused: Counter;
}

export function listenerMetrics(metrics: Metrics): ListenerMetrics {
  return {
    refused: metrics.counter({
      name: "warren_api_refused_connections_total",
      help: "Connections from other machines that were closed before a call, by reason",
      labels: ["reason"],
    }),
  };
}
