/**
 * What Warren's two daemons share: logging, metrics and their server, signals, and the lock of a data directory.
 *
 * - `logger.ts`        pinoLogger: pino as std's Logger
 * - `metrics.ts`       prometheusMetrics: prom-client as std's Metrics
 * - `health-server.ts` startHealthServer: `/metrics`, `/healthz`, `/readyz`
 * - `signals.ts`       terminationSignal: SIGTERM and SIGINT as an AbortSignal
 * - `systemd.ts`       machineGoesDown, extendStop: what a daemon asks of systemd when it is to end
 * - `pid-file.ts`      writePidFile, runningPid
 * - `directory-lock.ts` lockDirectory: one daemon on a data directory
 * - `ballast.ts`       Ballast: room on the disk that is kept back for recovery
 * - `last-end.ts`      LastEnd: why a daemon ended by itself
 * - `errors.ts`        DaemonError
 */
export { pinoLogger, logLevels, type LogLevel, type PinoLoggerOptions } from "./logger.ts";
export { prometheusMetrics, type PrometheusMetrics } from "./metrics.ts";
export { startHealthServer, type HealthServer, type HealthServerOptions } from "./health-server.ts";
export { terminationSignal } from "./signals.ts";
export { extendStop, machineGoesDown } from "./systemd.ts";
export { runningPid, writePidFile, type PidFile } from "./pid-file.ts";
export { lockDirectory, type DirectoryLock } from "./directory-lock.ts";
export { Ballast, isDiskFull, type BallastOptions } from "./ballast.ts";
export { LastEnd } from "./last-end.ts";
export { DaemonError, type DaemonFailure } from "./errors.ts";
