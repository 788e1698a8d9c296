/** Checks that several sets of options share. */
import { RaftError } from "./errors.ts";

/** An option with a value that makes no sense. */
export function optionInvalid(option: string, why: string): RaftError {
  return new RaftError({ code: "RAFT_OPTIONS_INVALID", option }, `raft option ${option} ${why}`);
}

/** Defaults, and over them what was given; `undefined` counts as not given. */
export function withDefaults<D extends object, O extends object>(defaults: D, options: O): D & O {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return { ...defaults, ...Object.fromEntries(given) } as D & O;
}

/** @throws RaftError `RAFT_OPTIONS_INVALID` unless it is a finite number from `least` on, or a whole one if it is to be */
export function checkNumber(option: string, value: unknown, least: number, isWhole: boolean): void {
  if (typeof value !== "number" || !Number.isFinite(value)) {
    throw optionInvalid(option, `is ${String(value)}, and a number is wanted`);
  }
  if (value < least) throw optionInvalid(option, `is below ${least}`);
  if (isWhole && !Number.isSafeInteger(value)) throw optionInvalid(option, `is ${value}, and a whole number is wanted`);
}
