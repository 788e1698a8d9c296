/** Amounts and names, for people. */
import type { NodeView } from "./rules.ts";

/** Shortens a name in a text. */
const nameLength = 64;

export function clip(text: string, length: number = nameLength): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

/** Up to three of them, and how many more. */
export function listText(items: readonly string[]): string {
  const shown = items.slice(0, 3).map((each) => clip(each));
  return items.length > 3 ? `${shown.join(", ")} and ${items.length - 3} more` : shown.join(", ");
}

export function nameOf({ state }: NodeView): string {
  return clip(state.hostname ?? state.id);
}

/** `2 tasks` */
export function taskText(count: number): string {
  return `${count} ${count === 1 ? "task" : "tasks"}`;
}

/** All of them, with `and` before the last: for help, which must be complete. */
export function andText(items: readonly string[]): string {
  return joined(items, "and");
}

/** Up to three, with `or` before the last, or how many more. */
export function orText(items: readonly string[]): string {
  return items.length > 3 ? listText(items) : joined(items, "or");
}

function joined(items: readonly string[], word: string): string {
  return items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} ${word} ${items.at(-1)}`;
}

/**
 * An amount in its own unit; below zero counts as 0. Needed amounts are rounded up and free ones down, so that following
 * a text is always enough.
 */
export function amountText(kind: string, amount: number, way: "up" | "down"): string {
  const shown = Math.max(0, amount);
  if (kind === "cpu") return `${round(shown / 1e9, way)} CPU`;
  if (kind !== "memory" && kind !== "disk") return String(shown);
  for (const [unit, size] of [
    ["TiB", 2 ** 40],
    ["GiB", 2 ** 30],
    ["MiB", 2 ** 20],
    ["KiB", 2 ** 10],
  ] as const) {
    if (shown >= size) return `${round(shown / size, way)} ${unit}`;
  }
  return `${shown} B`;
}

/** An amount with its kind: `1 CPU`, `2 GiB of memory`, `3 gpu`. */
export function quantityText(kind: string, amount: number, way: "up" | "down"): string {
  const text = amountText(kind, amount, way);
  if (kind === "cpu") return text;
  return kind === "memory" || kind === "disk" ? `${text} of ${kind}` : `${text} ${clip(kind)}`;
}

/** Two digits after the point; below a tenth all digits to the billionth. */
function round(value: number, way: "up" | "down"): string {
  const scale = value < 0.1 ? 1e9 : 100;
  const scaled = Number((value * scale).toPrecision(15));
  const rounded = (way === "up" ? Math.ceil(scaled) : Math.floor(scaled)) / scale;
  return rounded.toFixed(9).replace(/\.?0+$/, "");
}
