/** IPv4 networks as numbers. */

export interface Ipv4Network {
  /** Its first address, as an unsigned number of 32 bits. */
  readonly first: number;
  readonly prefix: number;
}

/** Undefined for what is not `a.b.c.d/n`. Bits beyond the prefix are dropped. */
export function parseNetwork(text: string): Ipv4Network | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(text);
  if (match === null) return undefined;
  const [a = 0, b = 0, c = 0, d = 0, prefix = 0] = match.slice(1).map(Number);
  if ([a, b, c, d].some((part) => part > 255) || prefix > 32) return undefined;
  const address = ((a * 256 + b) * 256 + c) * 256 + d;
  return { first: address - (address % sizeOf(prefix)), prefix };
}

export function sizeOf(prefix: number): number {
  return 2 ** (32 - prefix);
}

export function addressText(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".");
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
