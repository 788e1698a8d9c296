import { constants } from "node:os";
import { RuntimeError } from "./errors.ts";

/** Numbers of the first and the last real-time signal that C libraries leave to programs. */
const firstRealTime = 34;
const lastRealTime = 64;

/** The number of `TERM`, `SIGTERM`, `15`, `SIGRTMIN`, `RTMIN+3` or `SIGRTMAX-1`; undefined for anything else. */
export function findSignal(signal: string): number | undefined {
  if (/^\d{1,2}$/.test(signal)) {
    const number = Number(signal);
    return number > 0 && number <= lastRealTime ? number : undefined;
  }
  const name = signal.toUpperCase().replace(/^SIG/, "");
  const [, base, sign, offset = "0"] = /^(RTMIN|RTMAX)(?:([+-])(\d{1,2}))?$/.exec(name) ?? [];
  if (base !== undefined) {
    const from = base === "RTMIN" ? firstRealTime : lastRealTime;
    const number = sign === "-" ? from - Number(offset) : from + Number(offset);
    return number >= firstRealTime && number <= lastRealTime ? number : undefined;
  }
  return Object.hasOwn(constants.signals, `SIG${name}`) ? constants.signals[`SIG${name}` as NodeJS.Signals] : undefined;
}

/**
 * The number of a signal that a caller names.
 *
 * @param field what the error names
 * @throws RuntimeError `RUNTIME_SPEC_INVALID`
 */
export function signalNumber(signal: string, field = "signal"): number {
  const number = findSignal(signal);
  if (number !== undefined) return number;
  throw new RuntimeError(
    { code: "RUNTIME_SPEC_INVALID", field },
    `${field}: ${JSON.stringify(signal.slice(0, 40))} is not a signal; write TERM, SIGTERM, SIGRTMIN+3 or a number from 1 to ${lastRealTime}`,
  );
}

/**
 * The number of a container's stop signal: the spec's, else the image's, else SIGTERM. An invalid one of an image is
 * ignored, as in Docker.
 */
export function stopSignalNumber(ofSpec: string | undefined, ofImage: string | undefined): number {
  if (ofSpec !== undefined) return signalNumber(ofSpec, "stopSignal");
  return findSignal(ofImage ?? "") ?? constants.signals.SIGTERM;
}
