import { describe, expect, test, vi } from "vitest";

import * as testing from "../../src/testing/index.ts";
import { knownBugs } from "./known-bugs.ts";
import { createMutant } from "./mutant.ts";
import { coreMutations } from "./mutations/core.ts";
import { nodeMutations } from "./mutations/node.ts";
import { nodeStories, type Testing } from "./node-stories.ts";

// A story is hundreds of simulated clusters, and a mutant a whole copy of the source.
vi.setConfig({ testTimeout: 120_000 });

describe("bugs that other runtimes and storages had", () => {
  for (const [bug, tell] of Object.entries(nodeStories)) test(bug, () => tell(testing));
});

describe("put back, each is caught by its test", () => {
  for (const mutation of nodeMutations) {
    test(`with the bug in, ${mutation.bug} fails`, async () => {
      using mutant = createMutant(mutation);
      const mutated = await mutant.load<Testing>("testing/index.ts");
      await expect(nodeStories[mutation.bug]?.(mutated)).rejects.toThrow();
    });
  }

  test("every bug of the table has a test", () => {
    const told = new Set([...coreMutations, ...nodeMutations].map(({ bug }) => bug));
    expect(Object.keys(knownBugs).filter((bug) => !told.has(bug))).toEqual([]);
    expect(Object.keys(knownBugs)).toHaveLength(34);
  });

  test("every test here has its mutation, and every mutation its test", () => {
    expect(nodeMutations.map(({ bug }) => bug).sort()).toEqual(Object.keys(nodeStories).sort());
  });
});
