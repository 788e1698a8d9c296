import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Ballast, isDiskFull, LastEnd } from "@warren/daemon";

let folder = "";
beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), "warren-ballast-"))));
afterEach(() => rm(folder, { recursive: true }));
const blocks = async (): Promise<number> => (await stat(join(folder, "ballast"))).blocks * 512;

test("room is kept back by a file that takes it, is given up once, and kept back again", async () => {
  const ballast = await Ballast.open(folder, { bytes: 3_000_000 });
  expect(ballast.held).toBe(true);
  expect(await blocks()).toBeGreaterThanOrEqual(3_000_000);
  expect(await ballast.giveUp()).toBe(true);
  await expect(blocks()).rejects.toThrow("ENOENT");
  expect([ballast.held, await ballast.giveUp()]).toEqual([false, false]);
  expect(await Promise.all([ballast.layAside(), ballast.layAside()])).toEqual([true, true]);
  expect(await blocks()).toBeGreaterThanOrEqual(3_000_000);
  // The next process has it.
  const next = await Ballast.open(folder);
  expect(next.held).toBe(true);
  expect(await blocks()).toBeLessThan(4_000_000);
});

test("none is kept back where there is little", async () => {
  expect((await Ballast.open(folder, { bytes: 2 ** 52 })).held).toBe(false);
});

test.each([
  [Object.assign(new Error("write"), { code: "ENOSPC" }), true],
  [new Error("failed", { cause: Object.assign(new Error("write"), { code: "EDQUOT" }) }), true],
  [new Error("IO error: 000003.log: No space left on device"), true],
  [Object.assign(new Error("write"), { code: "EIO" }), false],
  ["ENOSPC", false],
])("%s is a full disk: %s", (error, expected) => {
  expect(isDiskFull(error)).toBe(expected);
});

test("why a daemon ended by itself is read until its next start", async () => {
  const end = new LastEnd(join(folder, "run"), "manager");
  expect(await end.read()).toBeUndefined();
  await end.write("the disk is full");
  expect(await new LastEnd(join(folder, "run"), "manager").read()).toBe("the disk is full");
  await end.clear();
  expect(await end.read()).toBeUndefined();
});
