const variable = "WARREN_SEED";

/**
 * The seed of what a test draws: `WARREN_SEED` of the environment. The same in each run unless that is set, so that a test
 * which fails once fails again; `tools/soak` explores with others.
 *
 * @default 1
 * @throws RangeError if it is not a whole number from 0 to 2^31 − 1
 */
export function testSeed(): number {
  const text = process.env[variable] ?? "1";
  const seed = Number(text);
  if (!/^\d+$/.test(text) || seed >= 2 ** 31)
    throw new RangeError(`${variable}="${text}" is not a whole number from 0 to 2147483647`);
  return seed;
}
