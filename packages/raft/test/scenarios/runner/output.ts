/** What a command prints: its own lines, and the core's events as a logger's. */
import type { RaftEvent } from "../../../src/core/index.ts";

export const levels = ["DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"] as const;

export class Output {
  level = 0;
  private text = "";

  /** At the highest level nothing is printed, errors apart. */
  get quiet(): boolean {
    return this.level === levels.length - 1;
  }

  write(text: string): void {
    if (!this.quiet) this.text += text;
  }

  line(text: string): void {
    this.write(`${text}\n`);
  }

  event(id: number, event: RaftEvent): void {
    const level = severity(event);
    if (this.level <= level) this.line(`${levels[level]} ${id} ${describeEvent(event)}`);
  }

  take(): string {
    const { text } = this;
    this.text = "";
    return text;
  }

  /** Runs `body`; what it prints is indented. */
  indented(body: () => void): void {
    const before = this.text;
    this.text = "";
    try {
      body();
    } finally {
      const inner = this.text.replace(/\n$/u, "");
      this.text = inner === "" ? before : `${before}${inner.replaceAll(/^/gmu, "  ")}\n`;
    }
  }
}

function severity(event: RaftEvent): number {
  if (event.kind === "election-refused" || event.kind === "quorum-lost") return 2;
  return event.kind === "append-rejected" || event.kind === "snapshot-sent" ? 0 : 1;
}

function describeEvent(event: RaftEvent): string {
  const { kind, ...fields } = event;
  const shown = Object.entries(fields).map(([key, value]) => {
    if (typeof value !== "object") return `${key}=${String(value)}`;
    return `${key}=${value.type} from=${value.from}`;
  });
  return [kind, ...shown].join(" ");
}
