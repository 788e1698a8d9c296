export type LogFields = Readonly<Record<string, unknown>>;

/**
 * Structured log: an event in a few words, and fields. A secret, token or key is never a field.
 * pino's loggers are adapted to it in the apps; libraries know only this.
 */
export interface Logger {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** A logger that adds `fields` to each of its lines; `component` is set so, once per package. */
  child(fields: LogFields): Logger;
}

/** Drops every line: the default of libraries that take an optional logger. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
};
