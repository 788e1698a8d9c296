import { describe, expect, test } from "vitest";
import { AsyncQueue, mergeSorted } from "@warren/std";
import { FakeClock, seededRandom } from "@warren/std/testing";

const ascending = (a: number, b: number): number => a - b;

async function* of<T>(...values: readonly T[]): AsyncGenerator<T, void, void> {
  yield* values;
}

describe("mergeSorted", () => {
  test("sorted sources are merged into one sorted stream, without loss", async () => {
    const random = seededRandom(11);
    for (let round = 0; round < 50; round++) {
      const sources = Array.from({ length: random.int(5) }, () =>
        Array.from({ length: random.int(8) }, () => random.int(20)).toSorted(ascending),
      );
      const merged = await Array.fromAsync(
        mergeSorted(
          sources.map((values) => of(...values)),
          ascending,
        ),
      );
      expect(merged).toEqual(sources.flat().toSorted(ascending));
    }
  });

  test("of equal values the earlier source's come first", async () => {
    const merged = mergeSorted([of("a1", "b1"), of("a2", "b2")], (a, b) => a.charCodeAt(0) - b.charCodeAt(0));
    expect(await Array.fromAsync(merged)).toEqual(["a1", "a2", "b1", "b2"]);
  });

  test("a failure comes at once, or last when that is asked for", async () => {
    async function* failing(): AsyncGenerator<number, void, void> {
      yield 1;
      throw new Error("node lost");
    }
    const read = async (failures: "at-once" | "last"): Promise<number[]> => {
      const seen: number[] = [];
      const merged = mergeSorted([failing(), of(2, 3)], ascending, { failures });
      await expect(
        (async () => {
          for await (const value of merged) seen.push(value);
        })(),
      ).rejects.toThrow("node lost");
      return seen;
    };
    expect(await read("at-once")).toEqual([1]);
    expect(await read("last")).toEqual([1, 2, 3]);
  });

  test("a source that yields nothing for waitMs is not waited for again", async () => {
    const clock = new FakeClock();
    const [busy, quiet] = [new AsyncQueue<number>(), new AsyncQueue<number>()];
    busy.push(1);
    const merged = mergeSorted([busy, quiet], ascending, { follow: { clock, waitMs: 100 } });
    const first = merged.next();
    await clock.advanceAsync(99);
    expect(await Promise.race([first, Promise.resolve("waiting")])).toBe("waiting");
    await clock.advanceAsync(1);
    expect(await first).toEqual({ done: false, value: 1 });
    busy.push(2);
    expect((await merged.next()).value).toBe(2);
    quiet.push(0);
    const third = merged.next();
    await clock.advanceAsync(100);
    expect((await third).value).toBe(0);
    await merged.return();
    expect(clock.pending).toBe(0);
  });

  test("leaving the loop asks every source to end", async () => {
    const ended: string[] = [];
    async function* source(name: string): AsyncGenerator<number, void, void> {
      try {
        for (let i = 0; ; i++) yield i;
      } finally {
        ended.push(name);
      }
    }
    for await (const value of mergeSorted([source("a"), source("b")], ascending)) if (value === 3) break;
    await new Promise((resolve) => setImmediate(resolve));
    expect(ended.toSorted()).toEqual(["a", "b"]);
  });
});
