import { runReadmeExample } from "@warren/std/testing";
import { expect, test } from "vitest";

test("the README's example runs as printed", { timeout: 30_000 }, async () => {
  expect(await runReadmeExample(new URL("../README.md", import.meta.url))).toBe("example_starts_total 1\n");
});
