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

/** Bytes that are buffered while the destination accepts none; further lines are dropped. */
const waitingBytes = 1024 * 1024;

const stdout = 1;

/**
 * A Logger whose lines are JSON objects: `level`, `time` (ms since 1970), `msg` (the event) and the fields.
 *
 * No call throws and no failure ends the process: a line that can't be written (a full disk, a pipe without a reader) or
 * serialized (a field that throws) is counted, and later lines are tried again.
 */
export function pinoLogger(options: PinoLoggerOptions = {}): Logger {
  const failures = (options.metrics ?? noMetrics).counter({
    name: "warren_log_failures_total",
    help: "Lines of the log that could not be serialized or written.",
  });
  const settings = {
    level: options.level ?? "info",
    base: null,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return adapt(pino(settings, options.destination ?? standardOutput(() => failures.add())), () => failures.add());
}

/** Has a listener for `error`: without one a full disk would end the daemon. */
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
        return adapt(logger, failed); // Without the fields, rather than without the lines.
      }
    },
  };
}

/** What a line has of its own. */
const ownNames: ReadonlySet<string> = new Set(["level", "time", "msg"]);

/** Fields that have a name of the line's own get a `_` behind it. Errors become their text with its causes; one that is not a WarrenError is a fault of the program, so its stack is kept. */
function readable(fields: LogFields = {}): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    const key = ownNames.has(name) ? `${name}_` : name;
    out[key] = value instanceof Error ? errorText(value) : value;
    if (value instanceof Error && !("isWarrenError" in value)) out[`${key}Stack`] = value.stack;
  }
  return out;
}
