import { readFileSync } from "node:fs";
import { join } from "node:path";

import { describe, expect, test, vi } from "vitest";

import * as core from "../../src/core/index.ts";
import { coreStories } from "./core-stories.ts";
import type { Core } from "./core-world.ts";
import { createMutant, mutate } from "./mutant.ts";
import { coreMutations } from "./mutations/core.ts";

// A mutant is a whole copy of the source.
vi.setConfig({ testTimeout: 120_000 });

describe("bugs that others had", () => {
  for (const [bug, tell] of Object.entries(coreStories)) test(bug, () => tell(core));
});

describe("put back, each is caught by its test", () => {
  for (const mutation of coreMutations) {
    test(`with the bug in, ${mutation.bug} fails`, async () => {
      using mutant = createMutant(mutation);
      const mutated = await mutant.load<Core>("core/index.ts");
      expect(() => coreStories[mutation.bug]?.(mutated)).toThrow();
    });
  }

  test("every test here has its mutation, and every mutation its test", () => {
    expect(coreMutations.map(({ bug }) => bug).sort()).toEqual(Object.keys(coreStories).sort());
  });

  test("a mutation that does not apply exactly once is refused", () => {
    const [first] = coreMutations;
    const text = readFileSync(join(import.meta.dirname, "../../src", first!.file), "utf8");
    expect(() => mutate(text + text, first!)).toThrow("exactly once");
    expect(() => mutate("", first!)).toThrow("exactly once");
  });
});
