/**
 * What every package shares and nothing more. No package is imported here.
 *
 * - `clock.ts`     Clock, systemClock, delay
 * - `random.ts`    Random, systemRandom, newId
 * - `log.ts`       Logger, silentLogger
 * - `metrics.ts`   Metrics and its handles, noMetrics
 * - `error.ts`     WarrenError, errorText, assert
 * - `queue.ts`     AsyncQueue
 * - `lifecycle.ts` TaskGroup, serially
 * - `abort.ts`     abortable, aborted
 * - `backoff.ts`   Backoff
 * - `testing/`     their fakes, as `@warren/std/testing`
 */
export { WarrenError, assert, errorText, type ErrorClass, type Failure } from "./error.ts";
export { systemClock, delay, type Clock, type Timer } from "./clock.ts";
export { systemRandom, newId, type Random } from "./random.ts";
export { silentLogger, type Logger, type LogFields } from "./log.ts";
export {
  noMetrics,
  type Counter,
  type Gauge,
  type Histogram,
  type MetricLabels,
  type MetricOptions,
  type Metrics,
} from "./metrics.ts";
export { AsyncQueue } from "./queue.ts";
export { TaskGroup, logFailures, serially, type Closeable } from "./lifecycle.ts";
export { abortable, aborted } from "./abort.ts";
export { Backoff, type BackoffOptions } from "./backoff.ts";
