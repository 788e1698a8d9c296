import { errorText, noMetrics, type LogFields, type Logger, type Metrics } from "@warren/std";
import { destination as openDestination, pino, type DestinationStream, type Logger as Pino } from "pino";

export const logLevels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof logLevels)[number];

export interface PinoLoggerOptions {
  /** Lines below it are dropped. @default "info" */
  readonly level?: LogLevel;
  /** Where lines go, one JSON object each. @default stdout */
  readonly destination?: DestinationStream;
  /** Counts what could not be written, in `warren_log_failures_total`. */
  readonly metrics?: Metrics;
}

/** Bytes that wait while the destination takes none; what comes on top is dropped. */
const waitingBytes = 1024 * 1024;

const stdout = 1;

/**
 * A Logger whose lines are JSON objects: `level`, `time` (ms since 1970), `msg` (the event) and the fields.
 *
 * No call throws and no failure ends the process: where a line can't be written (a full disk, a pipe that nobody reads)
 * or made (a field that throws), it is counted, and later lines are tried again.
 */
export function pinoLogger(options: PinoLoggerOptions = {}): Logger {
  const failures = (options.metrics ?? noMetrics).counter({
    name: "warren_log_failures_total",
    help: "Failures to write or make a line of the log",
  });
  const settings = {
    level: options.level ?? "info",
    base: null,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return adapt(pino(settings, options.destination ?? standardOutput(() => failures.add())), () => failures.add());
}

/** Its `error` has a listener: without one a full disk would end the daemon. */
function standardOutput(failed: () => void): DestinationStream {
  const output = openDestination({ dest: stdout, sync: true, maxLength: waitingBytes });
  output.on("error", failed);
  output.on("drop", failed);
  return output;
}

function adapt(logger: Pino, failed: () => void): Logger {
  const line =
    (level: LogLevel) =>
    (event: string, fields?: LogFields): void => {
      try {
        if (logger.isLevelEnabled(level)) logger[level](readable(fields), event);
      } catch {
        failed();
      }
    };
  return {
    debug: line("debug"),
    info: line("info"),
    warn: line("warn"),
    error: line("error"),
    child(fields) {
      try {
        return adapt(logger.child(readable(fields)), failed);
      } catch {
        failed();
        return adapt(logger, failed); // Its lines are worth more than its fields.
      }
    },
  };
}

/** Errors become their text with its causes; what is not one of ours can't happen in operation, so its stack is kept. */
function readable(fields: LogFields = {}): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields)) {
    out[key] = value instanceof Error ? errorText(value) : value;
    if (value instanceof Error && !("isWarrenError" in value)) out[`${key}Stack`] = value.stack;
  }
  return out;
}
