/** Time that goes on while the machine is suspended, which `performance.now()` does not on Linux. */
import { uptime } from "node:os";

/** What `bootTimeMs` may be late by: it moves in steps. */
export const bootTimeStepMs = 10;

/** Milliseconds since the machine booted, suspension included. */
export function bootTimeMs(): number {
  return uptime() * 1_000;
}
