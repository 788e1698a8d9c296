import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

test("the README's example runs as printed and prints what it says", { timeout: 30_000 }, async () => {
  const folder = fileURLToPath(new URL("..", import.meta.url));
  const readme = await readFile(`${folder}/README.md`, "utf8");
  const example = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? "";
  const printed = /prints\n\n```\n([\s\S]*?)```/.exec(readme)?.[1] ?? "nothing";
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--conditions=warren-source", "--input-type=module-typescript", "--eval", example],
    { cwd: folder },
  );
  expect(stdout).toBe(printed);
});
