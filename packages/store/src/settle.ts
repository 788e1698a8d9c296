/**
 * Decoded messages as they are stored: frozen, and without a second copy of what is stored already.
 *
 * Ten thousand tasks say the same few things many times over: names, ids, digests, epochs, times. A decoder makes each of
 * them anew, and arrays larger than what they hold.
 */

/** Strings and times that were stored last; an entry that another falls on is forgotten. */
export class Pool {
  readonly #strings: (string | undefined)[] = Array.from({ length: poolSize });
  readonly #dates: (Date | undefined)[] = Array.from({ length: poolSize });

  /** An equal string that may be stored already. */
  string(value: string): string {
    const { length } = value;
    if (length === 0 || length > longestPooled) return value;
    let hash = length;
    // Beginnings and ends tell names and ids apart.
    for (let at = 1; at <= 4; at++)
      hash = (hash * 31 + value.charCodeAt(length - at)) * 31 + value.charCodeAt((length * at) >> 3);
    const slot = (hash >>> 0) % poolSize;
    const known = this.#strings[slot];
    if (known === value) return known;
    this.#strings[slot] = value;
    return value;
  }

  date(value: Date): Date {
    const ms = value.getTime();
    const slot = Math.abs(ms % poolSize);
    const known = this.#dates[slot];
    if (known?.getTime() === ms) return known;
    this.#dates[slot] = value;
    return value;
  }
}

const poolSize = 4_096;
const longestPooled = 128;
const nothing: readonly unknown[] = Object.freeze([]);

/**
 * The message, deeply frozen, with those parts of `like` in place of its own that are equal. Takes the message: it is
 * changed.
 *
 * @param like what is stored and likely to be equal in part; of any shape
 */
export function settled<T>(message: T, like: unknown, pool: Pool): T {
  return settle(message, like, pool) as T;
}

function settle(value: unknown, like: unknown, pool: Pool): unknown {
  if (typeof value === "string") return value === like ? like : pool.string(value);
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Date)
    return like instanceof Date && like.getTime() === value.getTime() ? like : pool.date(value);
  if (ArrayBuffer.isView(value)) return value;
  return Array.isArray(value) ? settleArray(value, like, pool) : settleFields(value as Fields, like, pool);
}

type Fields = Record<string, unknown>;

function settleFields(value: Fields, like: unknown, pool: Pool): unknown {
  const other = (typeof like === "object" && like !== null ? like : undefined) as Fields | undefined;
  let same = other !== undefined && value !== other;
  let count = 0;
  for (const key in value) {
    count++;
    const mine = value[key];
    const theirs = other?.[key];
    let now = mine;
    if (typeof mine === "string" || (typeof mine === "object" && mine !== null)) {
      now = settle(mine, theirs, pool);
      // Also where it is equal: another string, and the only one that stays.
      value[key] = now;
    }
    same &&= Object.is(now, theirs) && (now !== undefined || key in (other as Fields));
  }
  // A message of which every field is stored already is that message, if it has no others.
  if (same && count > 0 && Object.isFrozen(other) && Object.keys(other as Fields).length === count) return other;
  return Object.freeze(value);
}

function settleArray(value: readonly unknown[], like: unknown, pool: Pool): readonly unknown[] {
  if (value.length === 0) return nothing;
  const other: readonly unknown[] = Array.isArray(like) ? like : nothing;
  // A copy, since a decoder's has room for more.
  const items = Array.from(value, (item, at) => settle(item, other[at], pool));
  if (Object.isFrozen(other) && items.length === other.length && items.every((item, at) => Object.is(item, other[at])))
    return other;
  return Object.freeze(items);
}
