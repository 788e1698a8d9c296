import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { runReadmeExample } from "@warren/std/testing";

test("the README's example runs as printed and prints what it says", { timeout: 30_000 }, async () => {
  const { code, stdout, stderr } = await runReadmeExample(new URL("..", import.meta.url));
  expect(stderr).toBe("");
  expect(code).toBe(0);
  const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
  expect(stdout).toBe(/prints\n\n```\n([\s\S]*?)```/.exec(readme)?.[1] ?? "it prints nothing");
});
