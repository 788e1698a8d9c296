import { silentLogger, type Logger, type MetricOptions, type Metrics } from "@warren/std";
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

export interface PrometheusMetrics {
  /** For the packages. A name that is registered twice is the same metric. */
  readonly metrics: Metrics;
  /** The `Content-Type` of `text()`. */
  readonly contentType: string;
  /** All metrics, the process's own included, in Prometheus' text format. */
  text(): Promise<string>;
}

/**
 * prom-client as std's Metrics. A metric that prom-client refuses (a counter that would fall, a label that was not declared,
 * an invalid name) is an error in the log, once per name; no call throws.
 */
export function prometheusMetrics(log: Logger = silentLogger): PrometheusMetrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const made = new Map<string, unknown>();
  const refused = new Set<string>();
  const guarded = (name: string, work: () => void): void => {
    try {
      work();
    } catch (error) {
      if (!refused.has(name)) log.error("a metric was refused", { metric: name, error });
      refused.add(name);
    }
  };
  /** One metric per name; undefined if prom-client refuses it. */
  const once = <T>({ name }: MetricOptions, make: () => T): T | undefined => {
    if (!made.has(name)) guarded(name, () => made.set(name, make()));
    return made.get(name) as T | undefined;
  };
  const settings = ({ name, help, labels }: MetricOptions) => ({
    name,
    help,
    labelNames: [...(labels ?? [])],
    registers: [registry],
  });
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    metrics: {
      counter(options) {
        const metric = once(options, () => new Counter(settings(options)));
        return { add: (amount = 1, labels = {}) => guarded(options.name, () => metric?.inc(labels, amount)) };
      },
      gauge(options) {
        const metric = once(options, () => new Gauge(settings(options)));
        return { set: (value, labels = {}) => guarded(options.name, () => metric?.set(labels, value)) };
      },
      histogram(options) {
        const buckets = options.buckets === undefined ? {} : { buckets: [...options.buckets] };
        const metric = once(options, () => new Histogram({ ...settings(options), ...buckets }));
        return { observe: (value, labels = {}) => guarded(options.name, () => metric?.observe(labels, value)) };
      },
    },
  };
}
