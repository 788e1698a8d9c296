import type { MetricOptions, Metrics } from "@warren/std";
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

export interface PrometheusMetrics {
  /** For the packages. A name that is asked for twice is the same metric. */
  readonly metrics: Metrics;
  /** The `Content-Type` of `text()`. */
  readonly contentType: string;
  /** All metrics, the process's own included, in Prometheus' text format. */
  text(): Promise<string>;
}

export function prometheusMetrics(): PrometheusMetrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const made = new Map<string, unknown>();
  const once = <T>({ name }: MetricOptions, make: () => T): T => {
    const metric = (made.get(name) as T | undefined) ?? make();
    made.set(name, metric);
    return metric;
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
        return { add: (amount = 1, labels = {}) => metric.inc(labels, amount) };
      },
      gauge(options) {
        const metric = once(options, () => new Gauge(settings(options)));
        return { set: (value, labels = {}) => metric.set(labels, value) };
      },
      histogram(options) {
        const buckets = options.buckets === undefined ? {} : { buckets: [...options.buckets] };
        const metric = once(options, () => new Histogram({ ...settings(options), ...buckets }));
        return { observe: (value, labels = {}) => metric.observe(labels, value) };
      },
    },
  };
}
