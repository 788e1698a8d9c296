import type { Counter, Gauge, Histogram, Metrics } from "@warren/std";

export interface StoreMetrics {
  readonly version: Gauge;
  readonly objects: Gauge;
  readonly watchers: Gauge;
  readonly lagged: Counter;
  readonly commands: Counter;
  readonly updates: Counter;
  readonly retries: Counter;
  readonly updateSeconds: Histogram;
  readonly updatesPerCommand: Histogram;
}

const seconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

export function storeMetrics(metrics: Metrics): StoreMetrics {
  const named = (name: string, help: string, labels: readonly string[] = []): MetricNames => ({
    name: `warren_store_${name}`,
    help,
    labels,
  });
  return {
    version: metrics.gauge(named("version", "The log index of the last applied transaction.")),
    objects: metrics.gauge(named("objects", "Objects stored.", ["table"])),
    watchers: metrics.gauge(named("watchers", "Watches that are open.")),
    lagged: metrics.counter(
      named("watchers_lagged_total", "Watches that were ended because their reader fell behind."),
    ),
    commands: metrics.counter(named("commands_total", "Commands applied here, or refused for a conflict.", ["result"])),
    updates: metrics.counter(named("updates_total", "Transactions of this manager, by outcome.", ["result"])),
    retries: metrics.counter(named("retries_total", "Transactions run again after a conflict.")),
    updateSeconds: metrics.histogram({
      ...named("update_seconds", "From the call of update to its result, in seconds."),
      buckets: seconds,
    }),
    updatesPerCommand: metrics.histogram({
      ...named("updates_per_command", "Transactions that were proposed as one command."),
      buckets: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000],
    }),
  };
}

interface MetricNames {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
}
