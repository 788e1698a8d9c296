import { runReadmeExample } from "@warren/std/testing";
import { expect, test } from "vitest";

test("the README's example runs as printed", async () => {
  const { code, stdout, stderr } = await runReadmeExample(new URL("..", import.meta.url));
  expect(stderr).toBe("");
  expect(code).toBe(0);
  const lines = stdout.trim().split("\n");
  expect(lines).toContain("t1 80 running");
  expect(lines.at(-1)).toBe("running without its worker");
});
