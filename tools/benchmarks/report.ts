/** What every benchmark prints: the machine, and figures as percentiles. */
import { readFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";

/** One line that says what the figures were measured on. */
export function machineLine(): string {
  const [first] = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  const debian = readFileSync("/etc/os-release", "utf8").match(/^PRETTY_NAME="(.+)"$/m)?.[1] ?? "Linux";
  return `${cpus().length} × ${first?.model.trim() ?? "processor"}, ${memory} GiB, ${debian}, kernel ${release()}, Node ${process.versions.node}`;
}

/** The smallest value that at least `share` of the values do not exceed. @param share 0 to 1 */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** A Markdown table. */
export function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  const text = [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
  process.stdout.write(`${text}\n`);
}

/** `p50`, `p95` and `p99` as cells, with `digits` behind the point. */
export function percentileCells(values: readonly number[], digits: number): readonly string[] {
  return [0.5, 0.95, 0.99].map((share) => percentile(values, share).toFixed(digits));
}

/** A whole number from the environment, for shorter or longer runs. */
export function setting(name: string, fallback: number): number {
  const value = Number(process.env[name] ?? fallback);
  if (!Number.isInteger(value) || value < 1) throw new Error(`${name}: want a whole number from 1`);
  return value;
}
