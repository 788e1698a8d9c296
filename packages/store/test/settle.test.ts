import { Epoch, Slot, Task } from "@warren/api";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { Pool, settled } from "../src/settle.ts";

/** A string that is equal and another, as a decoder makes it. */
const another = (text: string): string => Buffer.from(text).toString();

const message = (): Task =>
  Task.create({
    meta: { id: another("t1") },
    slotId: another("web.1"),
    epoch: { reign: 7, index: 3 },
    status: { at: new Date(5), message: another("fine") },
  });

describe("a settled message", () => {
  test("is equal to what it was, and frozen to its depth", () => {
    const leaf = fc.oneof(
      fc.string(),
      fc.integer(),
      fc.boolean(),
      fc.constant(undefined),
      fc.date({ noInvalidDate: true }),
    );
    const tree = fc.letrec((tie) => ({
      node: fc.oneof(
        { maxDepth: 4 },
        leaf,
        fc.array(tie("node"), { maxLength: 4 }),
        fc.dictionary(fc.constantFrom("a", "b", "c"), tie("node"), { maxKeys: 3, noNullPrototype: true }),
      ),
    })).node;
    const deepFrozen = (value: unknown): boolean =>
      typeof value !== "object" ||
      value === null ||
      value instanceof Date ||
      (Object.isFrozen(value) && Object.values(value).every(deepFrozen));
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom("a", "b"), tree, { noNullPrototype: true }), tree, (value, like) => {
        const pool = new Pool();
        const before = settled(structuredClone(like), undefined, pool);
        const expected = structuredClone(value);
        const now = settled(structuredClone(value), before, pool);
        expect(now).toEqual(expected);
        expect(Object.keys(now as object)).toEqual(Object.keys(expected as object));
        expect(deepFrozen(now)).toBe(true);
        expect(before).toEqual(like);
      }),
      { numRuns: 300 },
    );
  }, 60_000);

  test("shares what is equal with what is stored already, and nothing else", () => {
    const pool = new Pool();
    const before = settled(message(), undefined, pool);
    const changed = message();
    changed.status!.message = "worse";
    const now = settled(changed, before, pool);
    expect(now).not.toBe(before);
    expect(now.status).not.toBe(before.status);
    expect(now.epoch).toBe(before.epoch);
    expect(now.status?.at).toBe(before.status?.at);
    expect(settled(message(), before, pool)).toBe(before);
  });

  test("has arrays no larger than what they hold, and one of all that are empty", () => {
    const pool = new Pool();
    const slots = [1, 2].map(() => settled(Slot.create({ leases: [] }), undefined, pool));
    expect(slots[0]?.leases).toBe(slots[1]?.leases);
  });

  test("of fewer fields is not what is stored, though all of its own are equal", () => {
    const pool = new Pool();
    const like = settled({ a: 1, b: 2 }, undefined, pool);
    expect(settled({ a: 1 }, like, pool)).toEqual({ a: 1 });
    expect(
      Object.keys(settled({ a: undefined, c: undefined }, settled({ a: undefined }, undefined, pool), pool)),
    ).toEqual(["a", "c"]);
    expect(settled(Epoch.create({ reign: 1 }), settled(Epoch.create({ reign: 2 }), undefined, pool), pool).reign).toBe(
      1,
    );
  });
});
