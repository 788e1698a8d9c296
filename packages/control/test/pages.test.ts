import * as fc from "fast-check";
import { expect, it } from "vitest";
import { ordinal, pageOf } from "../src/pages.ts";

const listing = (objects: readonly string[]) => ({
  of: "words",
  objects,
  keyOf: (word: string) => word,
  bytesOf: () => 1,
});

it(
  "the parts of any list are the list in order, each object once, however many a part holds",
  { timeout: 30_000 },
  () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.string({ maxLength: 6 }), { maxLength: 300 }),
        fc.integer({ min: 1, max: 40 }),
        (words, size) => {
          const seen: string[] = [];
          let token = "";
          do {
            const { items, nextPageToken } = pageOf({ size, token }, listing(words));
            expect(items.length).toBeLessThanOrEqual(size);
            if (nextPageToken !== "") expect(items.length).toBe(size);
            seen.push(...items);
            token = nextPageToken;
          } while (token !== "");
          expect(seen).toEqual(words.toSorted());
        },
      ),
      { numRuns: 300 },
    );
  },
);

it(
  "what stays throughout is given exactly once, whatever comes and goes between the parts",
  { timeout: 30_000 },
  () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.string({ minLength: 1, maxLength: 3 }), { maxLength: 60 }),
        fc.array(fc.tuple(fc.string({ minLength: 1, maxLength: 3 }), fc.boolean()), { maxLength: 60 }),
        fc.integer({ min: 1, max: 7 }),
        (words, changes, size) => {
          const touched = new Set(changes.map(([word]) => word));
          const now = new Set(words);
          const pending = [...changes];
          const seen: string[] = [];
          let token = "";
          do {
            const { items, nextPageToken } = pageOf({ size, token }, listing([...now]));
            seen.push(...items);
            token = nextPageToken;
            for (const [word, stays] of pending.splice(0, 3)) {
              if (stays) now.add(word);
              else now.delete(word);
            }
          } while (token !== "");
          expect(new Set(seen).size).toBe(seen.length);
          const steady = words.filter((word) => !touched.has(word));
          expect(seen.filter((word) => steady.includes(word))).toEqual(steady.toSorted());
        },
      ),
      { numRuns: 300 },
    );
  },
);

it("a part ends after the object that makes it large, but holds at least one", () => {
  const objects = ["a", "b", "c"];
  const { items, nextPageToken } = pageOf({ size: 10, token: "" }, { ...listing(objects), bytesOf: () => 3_000_000 });
  expect(items).toEqual(["a"]);
  expect(pageOf({ size: 10, token: nextPageToken }, { ...listing(objects), bytesOf: () => 3_000_000 }).items).toEqual([
    "b",
  ]);
});

it("numbers in keys are in the order of numbers", () => {
  expect([10, 9, 1_000].map(ordinal).sort()).toEqual([9, 10, 1_000].map(ordinal));
});
