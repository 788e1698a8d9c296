import { runReadmeExample } from "@warren/std/testing";
import { expect, test } from "vitest";

test("the README's example runs as printed", { timeout: 30_000 }, async () => {
  const { code, stdout, stderr } = await runReadmeExample(new URL("..", import.meta.url));
  expect(stderr).toBe("");
  expect(code).toBe(0);
  const lines = stdout.trim().split("\n");
  expect(lines).toEqual(["web.1, run 1: running", "running without its worker"]);
});
