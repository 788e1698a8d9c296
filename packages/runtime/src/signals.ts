import { constants } from "node:os";
import { RuntimeError } from "./errors.ts";

/** Real-time signals end here on Linux. */
const largestSignal = 64;

/**
 * The number of `TERM`, `SIGTERM` or `15`.
 *
 * @param field what the error names
 * @throws RuntimeError `RUNTIME_SPEC_INVALID`
 */
export function signalNumber(signal: string, field = "signal"): number {
  const upper = signal.toUpperCase();
  const name = upper.startsWith("SIG") ? upper : `SIG${upper}`;
  const number = /^\d+$/.test(signal) ? Number(signal) : constants.signals[name as NodeJS.Signals];
  if (number !== undefined && number > 0 && number <= largestSignal) return number;
  throw new RuntimeError(
    { code: "RUNTIME_SPEC_INVALID", field },
    `${field}: "${signal}" is no signal; write TERM, SIGTERM or a number from 1 to ${largestSignal}`,
  );
}
