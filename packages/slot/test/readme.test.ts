import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { runReadmeExample } from "@warren/std/testing";

test("the README's example runs as printed and prints what it says", { timeout: 30_000 }, async () => {
  const folder = new URL("..", import.meta.url);
  const readme = await readFile(new URL("README.md", folder), "utf8");
  const printed = /^prints\n\n```\n([\s\S]*?)^```/m.exec(readme)?.[1];
  const { code, stdout, stderr } = await runReadmeExample(folder);
  expect(stderr).toBe("");
  expect(code).toBe(0);
  expect(stdout).toContain("as often as its policy allows");
  expect(stdout).toBe(printed);
});
