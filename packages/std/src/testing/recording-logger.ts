import type { Logger, LogFields } from "../log.ts";

export interface LogRecord {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly event: string;
  readonly fields: LogFields;
}

/** Keeps every line, children's included, in `records`. */
export class RecordingLogger implements Logger {
  readonly records: LogRecord[];
  readonly #fields: LogFields;

  constructor(records: LogRecord[] = [], fields: LogFields = {}) {
    this.records = records;
    this.#fields = fields;
  }

  debug(event: string, fields?: LogFields): void {
    this.#record("debug", event, fields);
  }
  info(event: string, fields?: LogFields): void {
    this.#record("info", event, fields);
  }
  warn(event: string, fields?: LogFields): void {
    this.#record("warn", event, fields);
  }
  error(event: string, fields?: LogFields): void {
    this.#record("error", event, fields);
  }
  child(fields: LogFields): RecordingLogger {
    return new RecordingLogger(this.records, { ...this.#fields, ...fields });
  }

  #record(level: LogRecord["level"], event: string, fields: LogFields = {}): void {
    this.records.push({ level, event, fields: { ...this.#fields, ...fields } });
  }
}
