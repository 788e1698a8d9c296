/**
 * Protobuf's varints, for whole numbers from 0 to 2^53 - 1: seven bits a byte, least first, the eighth set on all but the
 * last.
 */

/** Bytes of `value` as a varint. */
export function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) size++;
  return size;
}

/** Appends `value` to `bytes`. */
export function pushVarint(bytes: number[], value: number): void {
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  bytes.push(rest);
}

/**
 * The number at `at` and where it ends; undefined if `bytes` end before it does, or if it is above 2^53 - 1.
 */
export function readVarint(
  bytes: ArrayLike<number>,
  at: number,
): { readonly value: number; readonly end: number } | undefined {
  let value = 0;
  let scale = 1;
  for (let end = at; end < bytes.length; end++) {
    const byte = bytes[end] as number;
    value += (byte & 127) * scale;
    if (value > Number.MAX_SAFE_INTEGER) return undefined;
    if (byte < 128) return { value, end: end + 1 };
    scale *= 128;
  }
  return undefined;
}
