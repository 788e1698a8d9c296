import { randomBytes, randomFillSync } from "node:crypto";

/** Randomness, passed in as an interface. A simulation passes `seededRandom(seed)`. */
export interface Random {
  /** Uniform in `[0, 1)`. */
  next(): number;
  /** A whole number, uniform in `[0, bound)`. */
  int(bound: number): number;
  /** `length` random bytes. Only `systemRandom`'s are fit for keys. */
  bytes(length: number): Uint8Array;
}

const pool = new Uint32Array(256);
let used = pool.length;

function uint32(): number {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  return pool[used++] as number;
}

export const systemRandom: Random = {
  next: () => (uint32() * 2 ** 21 + (uint32() >>> 11)) / 2 ** 53,
  int: (bound) => Math.floor(systemRandom.next() * bound),
  bytes: (length) => new Uint8Array(randomBytes(length)),
};

const alphabet = "0123456789abcdefghijklmnopqrstuvwxyz";

/** Characters of an id: 25 base-36 digits hold 129 bits. */
const idLength = 25;

/** A new object id: 25 characters of `[0-9a-z]`, 129 random bits, so that no two machines ever make the same one. */
export function newId(random: Random): string {
  let id = "";
  while (id.length < idLength) id += alphabet[random.int(alphabet.length)] as string;
  return id;
}
