/**
 * Fakes of what `@warren/std` declares: `FakeClock`, `seededRandom`, `RecordingLogger`, `RecordingMetrics`; `until`,
 * `runReadmeExample`, `testSeed`.
 */
export { FakeClock } from "./fake-clock.ts";
export { seededRandom } from "./seeded-random.ts";
export { RecordingLogger, type LogRecord } from "./recording-logger.ts";
export { RecordingMetrics } from "./recording-metrics.ts";
export { runReadmeExample, type ReadmeExample } from "./readme-example.ts";
export { testSeed } from "./test-seed.ts";
export { until } from "./until.ts";
