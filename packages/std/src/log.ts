export type LogFields = Readonly<Record<string, unknown>>;

/**
 * Structured log: an event in a few words, and fields. A secret, token or key is never a field.
 * Libraries take this interface; `@warren/daemon` adapts pino to it.
 */
export interface Logger {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** A logger that adds `fields` to each of its lines; each package sets `component` in this way, once. */
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
