/**
 * Interfaces to time, randomness, logs and metrics with their real and fake forms, errors, and primitives of concurrency.
 * No package is imported here.
 *
 * - `clock.ts`     Clock, systemClock, delay
 * - `boot-clock.ts` BootClock, systemBootClock: time that outlives a process
 * - `random.ts`    Random, systemRandom, newId
 * - `log.ts`       Logger, silentLogger
 * - `metrics.ts`   Metrics and its handles, noMetrics
 * - `error.ts`     WarrenError, errorText, assert
 * - `queue.ts`     AsyncQueue: a producer that never waits
 * - `channel.ts`   Channel: senders that wait for the reader
 * - `changes.ts`   Changes: waiting for a condition
 * - `merge.ts`     mergeSorted
 * - `address.ts`   parseHostPort, formatHostPort
 * - `network-fault.ts` networkFault: why there is no connection, in words
 * - `ipv4.ts`      IPv4 addresses and subnets as numbers
 * - `varint.ts`    varintSize, pushVarint, readVarint
 * - `lifecycle.ts` TaskGroup, serially
 * - `abort.ts`     abortable, abortableOrUndefined, aborted
 * - `backoff.ts`   Backoff
 * - `image-reference.ts` names of images and registries, by Docker's rules
 * - `testing/`     their fakes, as `@warren/std/testing`
 */
export { WarrenError, assert, errorText, type ErrorClass, type Failure } from "./error.ts";
export { systemClock, delay, type Clock, type Timer } from "./clock.ts";
export { systemBootClock, type BootClock, type BootTime } from "./boot-clock.ts";
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
export { Channel } from "./channel.ts";
export { Changes } from "./changes.ts";
export { mergeSorted, type MergeOptions } from "./merge.ts";
export { formatHostPort, parseHostPort, type HostPort } from "./address.ts";
export { networkFault } from "./network-fault.ts";
export { ipv4Number, ipv4SubnetHas, ipv4Text, parseIpv4Subnet, type Ipv4Subnet } from "./ipv4.ts";
export { pushVarint, readVarint, varintSize } from "./varint.ts";
export { TaskGroup, logFailures, serially, type Closeable } from "./lifecycle.ts";
export { abortable, abortableOrUndefined, aborted } from "./abort.ts";
export { Backoff, type BackoffOptions } from "./backoff.ts";
export {
  canonicalRegistry,
  formatImageReference,
  parseImageReference,
  registryFault,
  registryOfImage,
  type ImageReference,
} from "./image-reference.ts";
