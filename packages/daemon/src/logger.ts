import { errorText, type LogFields, type Logger } from "@warren/std";
import { pino, type DestinationStream, type Logger as Pino } from "pino";

export const logLevels = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof logLevels)[number];

export interface PinoLoggerOptions {
  /** Lines below it are dropped. @default "info" */
  readonly level?: LogLevel;
  /** Where lines go, one JSON object each. @default stdout */
  readonly destination?: DestinationStream;
}

/** A Logger whose lines are JSON objects: `level`, `time` (ms since 1970), `msg` (the event) and the fields. */
export function pinoLogger(options: PinoLoggerOptions = {}): Logger {
  const settings = {
    level: options.level ?? "info",
    base: null,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return adapt(options.destination === undefined ? pino(settings) : pino(settings, options.destination));
}

function adapt(logger: Pino): Logger {
  return {
    debug: (event, fields) => logger.debug(readable(fields), event),
    info: (event, fields) => logger.info(readable(fields), event),
    warn: (event, fields) => logger.warn(readable(fields), event),
    error: (event, fields) => logger.error(readable(fields), event),
    child: (fields) => adapt(logger.child(readable(fields))),
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
