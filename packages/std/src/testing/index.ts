/**
 * What tests need of `@warren/std`.
 *
 * - `fake-clock.ts`, `seeded-random.ts`, `recording-logger.ts`, `recording-metrics.ts`  fakes of its interfaces
 * - `clock-contract.ts`, `random-contract.ts`, `logger-contract.ts`, `metrics-contract.ts`  the contracts of these
 *   interfaces, as cases for any test runner; `contract.ts` is a case of any seam's
 * - `until.ts`           waiting for a condition
 * - `processes.ts`       programs to their end, free ports, who listens
 * - `test-seed.ts`       the seed of what tests draw
 * - `seed-threads.ts`    very many seeds, on threads
 * - `readme-example.ts`  runs the example of a README
 */
export { FakeClock } from "./fake-clock.ts";
export { seededRandom } from "./seeded-random.ts";
export { RecordingLogger, type LogRecord } from "./recording-logger.ts";
export { RecordingMetrics } from "./recording-metrics.ts";
export type { ContractCase } from "./contract.ts";
export { bootClockContract, clockContract, type BootClockUnderTest, type ClockUnderTest } from "./clock-contract.ts";
export { randomContract } from "./random-contract.ts";
export { loggerContract, type LoggerUnderTest } from "./logger-contract.ts";
export { metricsContract, type MetricsUnderTest } from "./metrics-contract.ts";
export { finished, freePorts, listens, type Finished } from "./processes.ts";
export { runReadmeExample, type ReadmeExample } from "./readme-example.ts";
export { runSeeds, serveSeeds, type SeedRange } from "./seed-threads.ts";
export { testSeed } from "./test-seed.ts";
export { until } from "./until.ts";
