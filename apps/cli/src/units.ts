/** How people write durations, sizes and shares of processors, and how they read them. Pure. */

/** What a flag's text should have been. The command line turns it into a usage error. */
export class UnitError extends Error {}

const msPerUnit = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const amount = String.raw`\d+\.?\d*|\.\d+`;
const part = `(${amount})(ns|us|µs|ms|s|m|h|d)`;

/** What a timer can wait at most, ms: nearly 25 days. */
export const longestTimerMs: number = 2 ** 31 - 1;

/**
 * `500ms`, `10s`, `1h30m`, `2d`; `0`. Go's units, as Docker's flags have them, and days.
 *
 * @returns whole ms, at most `mostMs`
 * @throws UnitError
 */
export function parseDuration(text: string, mostMs: number = Number.MAX_SAFE_INTEGER): number {
  if (text === "0") return 0;
  if (/^\d+$/.test(text)) throw new UnitError(`'${text}' has no unit: did you mean ${text}s?`);
  if (!new RegExp(`^(?:${part})+$`).test(text)) {
    throw new UnitError(`'${text}' is not a duration: give for example 500ms, 10s, 5m or 1h30m`);
  }
  let ms = 0;
  for (const [, number, unit] of text.matchAll(new RegExp(part, "g")))
    ms += Number(number) * msPerUnit[unit as keyof typeof msPerUnit];
  if (ms > 0 && Math.round(ms) < 1) throw new UnitError(`'${text}' is too short: the least is 1ms`);
  if (ms > mostMs) throw new UnitError(`'${text}' is too long: the most is ${formatAge(mostMs)}`);
  return Math.round(ms);
}

/** What a number of the API can be at most (uint32). */
export const mostCount: number = 2 ** 32 - 1;

/** `3`. @throws UnitError */
export function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new UnitError(`'${text}' is not a whole number`);
  if (Number(text) > mostCount) throw new UnitError(`'${text}' is too large: the most is ${mostCount}`);
  return Number(text);
}

/** A duration that can't be 0. @throws UnitError */
export function parsePositiveDuration(text: string, mostMs?: number): number {
  const ms = parseDuration(text, mostMs);
  if (ms === 0) throw new UnitError(`'${text}' is no time at all: the least is 1ms`);
  return ms;
}

const multiples = " kmgtp";

/**
 * `512m`, `1g`, `64KiB`, `1000`: powers of 1024 whatever the spelling, as Docker has it.
 *
 * @returns whole bytes
 * @throws UnitError
 */
export function parseBytes(text: string): number {
  const [, number = "", unit = ""] = new RegExp(`^(${amount})\\s*([kmgtp]?)(?:i?b)?$`, "i").exec(text) ?? [];
  if (number === "") throw new UnitError(`'${text}' is not a size: give bytes, or for example 512m or 1g`);
  const bytes = Number(number) * 1024 ** multiples.indexOf(unit.toLowerCase() || " ");
  if (unit === "" && !Number.isInteger(bytes))
    throw new UnitError(`'${text}' is not a whole number of bytes: did you mean ${number}g?`);
  if (bytes > 0 && bytes < 1) throw new UnitError(`'${text}' is less than a byte`);
  return Math.round(bytes);
}

/** `0.5`, `2`: cores. @returns nano-CPUs @throws UnitError */
export function parseCpus(text: string): number {
  if (!/^(?:\d+\.?\d{0,9}|\.\d{1,9})$/.test(text)) {
    throw new UnitError(`'${text}' is not a number of processors: give for example 0.5 or 2`);
  }
  return Math.round(Number(text) * 1e9);
}

const rfc3339 = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)?$/;

/**
 * A moment: `2026-11-24T10:00:00Z`, a day or a time of this machine's time zone, seconds since 1970, or a duration before
 * `now`.
 *
 * @throws UnitError
 */
export function parseMoment(text: string, now: number): Date {
  if (/^\.?\d[\d.]*[a-zµ]/.test(text)) return new Date(now - parseDuration(text));
  if (/^\d{9,}(\.\d+)?$/.test(text)) return new Date(Number(text) * 1_000);
  // A day alone is in UTC for `Date`, and for everybody else where they are.
  const at = rfc3339.test(text) ? Date.parse(text.length === 10 ? `${text}T00:00` : text) : Number.NaN;
  if (Number.isNaN(at)) {
    throw new UnitError(`'${text}' is not a time: give for example 10m (ago) or 2026-11-24T10:00:00Z`);
  }
  return new Date(at);
}

/** `3 MiB`. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), units.length - 1);
  const amount = bytes / 1024 ** power;
  return `${power === 0 || amount >= 100 ? Math.round(amount) : amount.toFixed(1).replace(/\.0$/, "")} ${units[power]}`;
}

/** `500ms`, `1.5s`, `10m`: as a flag would have it. */
export function formatDuration(ms: number): string {
  if (ms < 1_000) return `${ms}ms`;
  const unit = (["d", "h", "m", "s"] as const).find((each) => ms % msPerUnit[each] === 0) ?? "s";
  return `${ms / msPerUnit[unit]}${unit}`;
}

/** The largest unit that fits, cut off: `4m`. */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}
