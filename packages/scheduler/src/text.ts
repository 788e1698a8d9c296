/** Amounts and names, for people. */
import type { NodeView } from "./rules.ts";

/** A name of any length in a text that is to stay short. */
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

export function amountText(kind: string, amount: number): string {
  if (amount < 0) return `−${amountText(kind, -amount)}`;
  if (kind === "cpu") return `${round(amount / 1e9)} CPU`;
  if (kind !== "memory" && kind !== "disk") return String(amount);
  for (const [unit, size] of [
    ["TiB", 2 ** 40],
    ["GiB", 2 ** 30],
    ["MiB", 2 ** 20],
    ["KiB", 2 ** 10],
  ] as const) {
    if (amount >= size) return `${round(amount / size)} ${unit}`;
  }
  return `${amount} B`;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
