import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { runReadmeExample } from "@warren/std/testing";

test("the README's example runs as printed and prints what it says", { timeout: 30_000 }, async () => {
  const { code, stdout, stderr, printed } = await runReadmeExample(new URL("..", import.meta.url));
  expect(stderr).toBe("");
  expect(code).toBe(0);
  expect(stdout.split("\n").length).toBeGreaterThan(4);
  expect(stdout).toBe(printed);
});

test("the API page names everything that is exported", async () => {
  const [page, index] = await Promise.all(
    ["../API.md", "../src/index.ts"].map((path) => readFile(new URL(path, import.meta.url), "utf8")),
  );
  const exports = [...(index ?? "").matchAll(/export (?:type )?\{([^}]*)\}/g)].flatMap(([, list = ""]) =>
    list.split(",").map((each) => each.replace(/^\s*type\s/, "").trim()),
  );
  const names = exports.filter((name) => name !== "");
  expect(names.length).toBeGreaterThan(30);
  for (const name of names) expect(page).toMatch(new RegExp(`\\b${name}\\b`));
});
