/**
 * What clients saw: one operation a line, as JSON, in the order of their calls.
 *
 *     {"operation":7,"client":2,"kind":"cas","key":"b","expect":"3","value":"7","call":41,"return":57,
 *      "callMs":812.5,"returnMs":840.1,"outcome":"ok","output":"yes"}
 *
 * `call` and `return` number the world's moments, each once: an operation that returned before another was called comes
 * before it in real time. Keys are independent registers that begin as "". Kinds: `read` outputs the value; `put`
 * outputs the value it replaced; `append` outputs the value with `value` at its end; `cas` sets `value` if the register
 * holds `expect`, and outputs `yes` or `no`. Outcomes: `ok`; `fail`: it never takes effect; `unknown`: it takes effect
 * once at any moment after its call, or never, and has no `return`, `returnMs`, `output`.
 */
import type { Action } from "./machine.ts";

export interface Operation {
  readonly operation: number;
  readonly client: number;
  readonly kind: Action["kind"] | "read";
  readonly key: string;
  readonly value?: string;
  readonly expect?: string;
  readonly call: number;
  readonly callMs: number;
  return?: number;
  returnMs?: number;
  outcome: "ok" | "fail" | "unknown";
  output?: string;
}

/** A history as JSON lines. */
export function writeHistory(history: readonly Operation[]): string {
  return history.map((operation) => `${JSON.stringify(operation)}\n`).join("");
}

/** The history in JSON lines. */
export function readHistory(text: string): Operation[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Operation);
}
