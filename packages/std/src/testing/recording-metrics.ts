import type { Counter, Gauge, Histogram, MetricLabels, MetricOptions, Metrics } from "../metrics.ts";

/** Keeps values by `name{label="value"}`: a counter's sum, a gauge's last value, a histogram's observations. */
export class RecordingMetrics implements Metrics {
  readonly values: Map<string, number> = new Map();
  readonly observations: Map<string, number[]> = new Map();

  counter({ name }: MetricOptions): Counter {
    return {
      add: (amount = 1, labels) => {
        const key = series(name, labels);
        this.values.set(key, (this.values.get(key) ?? 0) + amount);
      },
    };
  }

  gauge({ name }: MetricOptions): Gauge {
    return { set: (value, labels) => void this.values.set(series(name, labels), value) };
  }

  histogram({ name }: MetricOptions): Histogram {
    return {
      observe: (value, labels) => {
        const key = series(name, labels);
        const seen = this.observations.get(key);
        if (seen === undefined) this.observations.set(key, [value]);
        else seen.push(value);
      },
    };
  }
}

function series(name: string, labels: MetricLabels = {}): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}="${value}"`);
  return pairs.length === 0 ? name : `${name}{${pairs.join(",")}}`;
}
