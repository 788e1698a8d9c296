import { readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import { applyMutation, generate, nameOf } from "./generate.ts";

test("the generator finds mutations of every rule in core, node, storage and transport, and each changes its file", () => {
  const all = generate();
  expect(all.length).toBeGreaterThan(1_000);
  for (const folder of ["core", "node", "storage", "transport"]) {
    expect(all.filter(({ file }) => file.startsWith(folder)).length).toBeGreaterThan(50);
  }
  const rules = new Set(all.map(({ rule }) => rule));
  expect(rules.size).toBeGreaterThan(15);
  for (const mutation of all.filter((_, at) => at % 20 === 0)) {
    const text = readFileSync(join(import.meta.dirname, "../../src", mutation.file), "utf8");
    expect(applyMutation(text, mutation), nameOf(mutation)).not.toBe(text);
  }
});
