/** How people write durations, sizes and shares of processors, and how they read them. Pure. */

/** What a flag's text should have been. The command line turns it into a usage error. */
export class UnitError extends Error {}

const msPerUnit = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `500ms`, `10s`, `1h30m`, `2d`; `0`. @returns whole ms @throws UnitError */
export function parseDuration(text: string): number {
  if (text === "0") return 0;
  if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text)) {
    throw new UnitError(`'${text}' is not a duration: give for example 500ms, 10s, 5m or 1h30m`);
  }
  let ms = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) {
    ms += Number(amount) * msPerUnit[unit as keyof typeof msPerUnit];
  }
  return Math.round(ms);
}

/** `512m`, `1g`, `64KiB`, `1000`: powers of 1024 whatever the spelling, as Docker has it. @returns bytes @throws UnitError */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?$/i.exec(text);
  if (match === null) throw new UnitError(`'${text}' is not a size: give bytes, or for example 512m or 1g`);
  const power = " kmgt".indexOf((match[2] || " ").toLowerCase());
  return Math.round(Number(match[1]) * 1024 ** power);
}

/** `0.5`, `2`: cores. @returns nano-CPUs @throws UnitError */
export function parseCpus(text: string): number {
  if (!/^\d+(\.\d{1,9})?$/.test(text)) {
    throw new UnitError(`'${text}' is not a number of processors: give for example 0.5 or 2`);
  }
  return Math.round(Number(text) * 1e9);
}

/** A moment: `2026-11-24T10:00:00Z`, or a duration before `now`. @throws UnitError */
export function parseMoment(text: string, now: number): Date {
  if (/^\d+(\.\d+)?(ms|s|m|h|d)/.test(text)) return new Date(now - parseDuration(text));
  const at = Date.parse(text);
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

/** The largest unit that fits, cut off: `4m`. */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}
