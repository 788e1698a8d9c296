/** What containers do, by their arguments. */
import type { FakeProcess } from "@warren/runtime/testing";
import type { Edge } from "./edge.ts";

/**
 * - `run`: until a signal ends it
 * - `deaf`: until SIGKILL
 * - `exit SECONDS CODE`: ends by itself
 */
export function fakeProgram(edge: Edge, process: FakeProcess): void {
  const [what, seconds, code] = process.args;
  if (what === "deaf") process.onSignal(() => undefined);
  if (what === "exit") edge.clock.setTimeout(() => process.exit(Number(code)), Number(seconds) * 1_000);
}
