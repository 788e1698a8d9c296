import { expect, test } from "vitest";
import { runReadmeExample } from "@warren/std/testing";

test("the README's example runs as printed and prints what it says", { timeout: 30_000 }, async () => {
  const { code, stdout, stderr, source } = await runReadmeExample(new URL("..", import.meta.url));
  expect(stderr).toBe("");
  expect(code).toBe(0);
  const told = [...source.matchAll(/console\.log\(.*\/\/ (.*)/g)].map(([, text]) => text);
  expect(told).toHaveLength(3);
  expect(stdout.trim().split("\n")).toEqual(told);
});
