import { expect, test } from "vitest";

import { InlineWrites } from "../../src/storage/inline-writes.ts";

class Disk {
  now = 0;
  readonly inline: InlineWrites = new InlineWrites(() => this.now);
  /** Writes that take so long each; how many of them were made on the calling thread. */
  write(count: number, tookMs: number): number {
    let made = 0;
    for (let i = 0; i < count; i++) {
      if (!this.inline.allows()) continue;
      made++;
      this.inline.run(() => (this.now += tookMs));
    }
    return made;
  }
}

test("writes of a quick disk are made on the calling thread", () => {
  const disk = new Disk();
  expect(disk.write(1_000, 0.1)).toBe(1_000);
});

test("a disk that is slow is found so by three writes, and tried ever more seldom", () => {
  const disk = new Disk();
  const pauses: number[] = [];
  for (let i = 0; i < 9; i++) {
    expect(disk.write(100, 10)).toBe(3);
    const since = disk.now;
    while (!disk.inline.allows()) disk.now += 500;
    pauses.push((disk.now - since) / 1_000);
  }
  expect(pauses).toEqual([1, 2, 4, 8, 16, 32, 64, 64, 64]);
});

test("after one stall the next writes go to the pool, and a disk that is quick again is used as before", () => {
  const disk = new Disk();
  disk.write(100, 0.1);
  expect(disk.write(2, 500)).toBe(1);
  disk.now += 1_000;
  expect(disk.write(100, 0.1)).toBe(100);
  // Not held against it.
  expect(disk.write(2, 500)).toBe(1);
  disk.now += 1_000;
  expect(disk.write(1, 0.1)).toBe(1);
});

test("writes of which many are late, as on a busy machine, are still made on the calling thread", () => {
  const disk = new Disk();
  for (let i = 0; i < 100; i++) expect(disk.write(1, 0.1) + disk.write(2, 20)).toBe(3);
});

test("a write that fails is the caller's, and counts as none", () => {
  const disk = new Disk();
  expect(() =>
    disk.inline.run(() => {
      throw new Error("the disk is full");
    }),
  ).toThrow("the disk is full");
  expect(disk.inline.allows()).toBe(true);
});
