/** Label names to values. Keep the set of values small. */
export type MetricLabels = Readonly<Record<string, string>>;

export interface Counter {
  add(amount?: number, labels?: MetricLabels): void;
}
export interface Gauge {
  set(value: number, labels?: MetricLabels): void;
}
export interface Histogram {
  observe(value: number, labels?: MetricLabels): void;
}
export interface MetricOptions {
  /** Prometheus name: `warren_` + package + what + base unit, `_total` for counters. */
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
}

/** Creates metric handles; optional in every library, never global. `@warren/daemon` adapts prom-client's registry to it. */
export interface Metrics {
  counter(options: MetricOptions): Counter;
  gauge(options: MetricOptions): Gauge;
  /** `buckets`: upper bounds, ascending, in the unit of the name. */
  histogram(options: MetricOptions & { readonly buckets?: readonly number[] }): Histogram;
}

/** Counts nothing: the default of libraries that take optional metrics. */
export const noMetrics: Metrics = {
  counter: () => ({ add: () => undefined }),
  gauge: () => ({ set: () => undefined }),
  histogram: () => ({ observe: () => undefined }),
};
