/**
 * Interning: makes decoded messages ready to store, frozen and with equal parts shared.
 *
 * Ten thousand tasks hold the same few values many times over: names, ids, digests, epochs, times. A decoder allocates
 * each of them anew, and arrays with spare capacity.
 */

/** A hash table of strings and times that were stored lately; on a collision the older entry is dropped. */
export class InternPool {
  readonly #strings: (string | undefined)[] = Array.from({ length: poolSize });
  readonly #dates: (Date | undefined)[] = Array.from({ length: poolSize });

  /** An equal string, which may be one that is stored already. */
  string(value: string): string {
    const { length } = value;
    if (length === 0 || length > longestPooled) return value;
    let hash = length;
    // Hashed are characters at the end, where names differ, and others spread over the text, where ids do.
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
 * The message, deeply frozen, with parts of `like` in place of its own equal ones. The message itself is changed and
 * returned.
 *
 * @param like a stored object that is likely to be equal in part, of any shape
 */
export function interned<T>(message: T, like: unknown, pool: InternPool): T {
  return intern(message, like, pool) as T;
}

function intern(value: unknown, like: unknown, pool: InternPool): unknown {
  if (typeof value === "string") return value === like ? like : pool.string(value);
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Date)
    return like instanceof Date && like.getTime() === value.getTime() ? like : pool.date(value);
  if (ArrayBuffer.isView(value)) return value;
  return Array.isArray(value) ? internArray(value, like, pool) : internFields(value as Fields, like, pool);
}

type Fields = Record<string, unknown>;

function internFields(value: Fields, like: unknown, pool: InternPool): unknown {
  const other = (typeof like === "object" && like !== null ? like : undefined) as Fields | undefined;
  let same = other !== undefined && value !== other;
  let count = 0;
  for (const key in value) {
    count++;
    const mine = value[key];
    const theirs = other?.[key];
    let now = mine;
    if (typeof mine === "string" || (typeof mine === "object" && mine !== null)) {
      now = intern(mine, theirs, pool);
      // Also where it is equal: another string, and the only one that stays.
      value[key] = now;
    }
    same &&= Object.is(now, theirs) && (now !== undefined || key in (other as Fields));
  }
  // Where every field is equal and there are no further ones, the stored message itself is used.
  if (same && count > 0 && Object.isFrozen(other) && Object.keys(other as Fields).length === count) return other;
  return Object.freeze(value);
}

function internArray(value: readonly unknown[], like: unknown, pool: InternPool): readonly unknown[] {
  if (value.length === 0) return nothing;
  const other: readonly unknown[] = Array.isArray(like) ? like : nothing;
  // A copy, since a decoder's array has spare capacity.
  const items = Array.from(value, (item, at) => intern(item, other[at], pool));
  if (Object.isFrozen(other) && items.length === other.length && items.every((item, at) => Object.is(item, other[at])))
    return other;
  return Object.freeze(items);
}
