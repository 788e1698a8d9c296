/**
 * Fakes of what `@warren/std` declares: `FakeClock`, `seededRandom`, `RecordingLogger`, `RecordingMetrics`, `until`.
 */
export { FakeClock } from "./fake-clock.ts";
export { seededRandom } from "./seeded-random.ts";
export { RecordingLogger, type LogRecord } from "./recording-logger.ts";
export { RecordingMetrics } from "./recording-metrics.ts";
export { until } from "./until.ts";
