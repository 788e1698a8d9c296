import type { Counter, Gauge, Histogram, MetricLabels, MetricOptions, Metrics } from "../metrics.ts";

/**
 * Keeps values by `name{label="value"}`, labels in the order in which the metric declares them: a counter's sum, a gauge's
 * last value, a histogram's observations. What a registry would refuse is not kept: a counter that would fall, a label
 * that was not declared.
 */
export class RecordingMetrics implements Metrics {
  readonly values: Map<string, number> = new Map();
  readonly observations: Map<string, number[]> = new Map();

  counter(options: MetricOptions): Counter {
    return {
      add: (amount = 1, labels) => {
        const key = series(options, labels);
        if (key !== undefined && amount >= 0) this.values.set(key, (this.values.get(key) ?? 0) + amount);
      },
    };
  }

  gauge(options: MetricOptions): Gauge {
    return {
      set: (value, labels) => {
        const key = series(options, labels);
        if (key !== undefined) this.values.set(key, value);
      },
    };
  }

  histogram(options: MetricOptions): Histogram {
    return {
      observe: (value, labels) => {
        const key = series(options, labels);
        if (key === undefined) return;
        const seen = this.observations.get(key);
        if (seen === undefined) this.observations.set(key, [value]);
        else seen.push(value);
      },
    };
  }
}

/** Undefined if a label was not declared. */
function series({ name, labels: declared = [] }: MetricOptions, labels: MetricLabels = {}): string | undefined {
  if (Object.keys(labels).some((label) => !declared.includes(label))) return undefined;
  const pairs = declared.filter((label) => label in labels).map((label) => `${label}="${labels[label]}"`);
  return pairs.length === 0 ? name : `${name}{${pairs.join(",")}}`;
}
