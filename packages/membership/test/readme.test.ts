import { expect, test } from "vitest";
import { runReadmeExample } from "@warren/std/testing";

test("the README's example runs as printed and prints what it says", { timeout: 30_000 }, async () => {
  const { code, stdout, stderr, printed } = await runReadmeExample(new URL("..", import.meta.url));
  expect(stderr).toBe("");
  expect(code).toBe(0);
  expect(stdout).toBe(printed);
});
