import { runReadmeExample } from "@warren/std/testing";
import { expect, test } from "vitest";

test("the README's example runs as printed and prints what it says", { timeout: 30_000 }, async () => {
  const { stdout, stderr } = await runReadmeExample(new URL("..", import.meta.url));
  expect({ stdout, stderr }).toEqual({ stdout: "example_starts_total 1\n", stderr: "" });
});
