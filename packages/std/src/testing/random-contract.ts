/** What every `Random` must do. */
import { assert } from "../error.ts";
import type { Random } from "../random.ts";
import type { ContractCase } from "./contract.ts";

const draws = 2_000;

export const randomContract: readonly ContractCase<Random>[] = [
  {
    title: "draws numbers from 0 up to 1, spread over the whole of it",
    async run(random) {
      const tenths = new Set<number>();
      for (let draw = 0; draw < draws; draw += 1) {
        const value = random.next();
        assert(value >= 0 && value < 1, `${value} is not in [0, 1)`);
        tenths.add(Math.floor(value * 10));
      }
      assert(tenths.size === 10, "each tenth is drawn");
    },
  },
  {
    title: "draws each whole number below a bound, and none beyond it",
    async run(random) {
      for (const bound of [1, 2, 7, 36]) {
        const seen = new Set(Array.from({ length: draws }, () => random.int(bound)));
        assert(seen.size === bound, `${bound} values are drawn, not ${seen.size}`);
        for (const value of seen) assert(Number.isInteger(value) && value >= 0 && value < bound, `${value} < ${bound}`);
      }
      const large = Array.from({ length: draws }, () => random.int(2 ** 48));
      assert(large.some((value) => value > 2 ** 40) && large.every(Number.isSafeInteger), "a large bound is used up");
    },
  },
  {
    title: "draws as many bytes as were asked for, of every value, in an array of the caller's own",
    async run(random) {
      assert(random.bytes(0).length === 0, "none");
      const bytes = random.bytes(4_096);
      assert(bytes.length === 4_096 && new Set(bytes).size > 200, "all values of a byte");
      const before = Uint8Array.from(bytes);
      random.bytes(4_096);
      assert(Buffer.compare(before, bytes) === 0, "what was drawn before stays");
    },
  },
];
