import * as fc from "fast-check";
import { afterEach, expect, test, vi } from "vitest";
import { testSeed } from "@warren/std/testing";

afterEach(() => void vi.unstubAllEnvs());

test("properties draw what the seed of the environment gives, and the same in each run without one", () => {
  expect(fc.readConfigureGlobal().seed).toBe(testSeed());
  expect(fc.sample(fc.nat(), { numRuns: 5 })).toEqual(fc.sample(fc.nat(), { numRuns: 5, seed: testSeed() }));
});

test("the seed is 1 unless WARREN_SEED is set, and what is no seed is refused", () => {
  vi.stubEnv("WARREN_SEED", undefined);
  expect(testSeed()).toBe(1);
  vi.stubEnv("WARREN_SEED", "2147483647");
  expect(testSeed()).toBe(2_147_483_647);
  for (const wrong of ["", "-1", "1.5", "0x10", "2147483648", "soon"]) {
    vi.stubEnv("WARREN_SEED", wrong);
    expect(() => testSeed()).toThrow(`WARREN_SEED="${wrong}" is not a whole number`);
  }
});
