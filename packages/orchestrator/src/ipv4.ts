/** IPv4 networks as numbers. */
import { addressNumber } from "@warren/api/model";

export interface Ipv4Network {
  /** Its first address, as an unsigned number of 32 bits. */
  readonly first: number;
  readonly prefix: number;
}

/** Undefined for what is not `a.b.c.d/n`. Bits beyond the prefix are dropped. */
export function parseNetwork(text: string): Ipv4Network | undefined {
  const [, host = "", length] = /^([^/]*)\/(\d{1,2})$/.exec(text) ?? [];
  const address = addressNumber(host);
  const prefix = Number(length);
  if (address === undefined || prefix > 32) return undefined;
  return { first: address - (address % sizeOf(prefix)), prefix };
}

export function sizeOf(prefix: number): number {
  return 2 ** (32 - prefix);
}

/**
 * The first of `count` places, from `from` on and around, that `taken` does not refuse; undefined if it refuses all.
 * Going on from the last one allocated keeps what was just released unused for as long as possible.
 */
export function nextFree(count: number, from: number, taken: (index: number) => boolean): number | undefined {
  for (let step = 0; step < count; step += 1) {
    const index = (from + step) % count;
    if (!taken(index)) return index;
  }
  return undefined;
}
