import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readChoice, writeChoice } from "../src/containerd-choice.ts";

let folder = "";
beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), "warren-choice-"))));
afterEach(() => rm(folder, { recursive: true }));
const own = (): string => join(folder, "containerd");

test("a choice is undefined at first, then what was written", async () => {
  expect(await readChoice(folder, own())).toBeUndefined();
  for (const choice of ["own", "machine"] as const) {
    await writeChoice(folder, choice);
    expect(await readChoice(folder, own())).toBe(choice);
  }
  expect(await readdir(folder)).toEqual(["containerd-choice"]);
});

test.each(["", "mach", "\0\0\0\0\0\0\0"])("a damaged choice is read from what is there: %j", async (text) => {
  await writeFile(join(folder, "containerd-choice"), text);
  expect(await readChoice(folder, own())).toBe("machine");
  await mkdir(own());
  expect(await readChoice(folder, own())).toBe("own");
});

test("a choice that is gone is the one whose folder is there", async () => {
  await mkdir(own());
  expect(await readChoice(folder, own())).toBe("own");
});
