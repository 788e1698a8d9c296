/** What happened, a line each, with the logs of all processes among it. */
import { errorText, type Logger, type LogFields } from "@warren/std";

export class Story implements Logger {
  /** Errors that were logged, and bugs that a warning names: what fails by one is tried again, and may be well then. */
  readonly errors: { readonly event: string; readonly fields: LogFields }[];
  readonly #lines: string[];
  readonly #now: () => number;
  readonly #fields: LogFields;

  constructor(now: () => number, lines: string[] = [], fields: LogFields = {}, errors: Story["errors"] = []) {
    this.#now = now;
    this.#lines = lines;
    this.#fields = fields;
    this.errors = errors;
  }

  get lines(): readonly string[] {
    return this.#lines;
  }

  tell(text: string): void {
    this.#lines.push(`${(this.#now() / 1_000).toFixed(3).padStart(10)} s  ${text}`);
  }

  debug(): void {
    return;
  }

  info(event: string, fields?: LogFields): void {
    this.#log("info", event, fields);
  }

  warn(event: string, fields: LogFields = {}): void {
    if (isBug(fields.error)) this.errors.push({ event, fields: { ...this.#fields, ...fields } });
    this.#log("warn", event, fields);
  }

  error(event: string, fields: LogFields = {}): void {
    this.errors.push({ event, fields: { ...this.#fields, ...fields } });
    this.#log("error", event, fields);
  }

  child(fields: LogFields): Story {
    return new Story(this.#now, this.#lines, { ...this.#fields, ...fields }, this.errors);
  }

  #log(level: string, event: string, fields: LogFields = {}): void {
    const said = Object.entries({ ...this.#fields, ...fields }).map(
      ([name, value]) => `${name}=${value instanceof Error ? errorText(value) : JSON.stringify(value)}`,
    );
    this.tell(`      ${level}: ${event} ${said.join(" ")}`.slice(0, 300));
  }
}

function isBug(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return error instanceof TypeError || error instanceof RangeError || error.message.startsWith("assertion failed");
}
