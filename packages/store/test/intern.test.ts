import { Epoch, Slot, Task } from "@warren/api";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { InternPool, interned } from "../src/intern.ts";

/** An equal string in memory of its own, as a decoder allocates it. */
const another = (text: string): string => Buffer.from(text).toString();

const message = (): Task =>
  Task.create({
    meta: { id: another("t1") },
    slotId: another("web.1"),
    epoch: { reign: 7, index: 3 },
    status: { at: new Date(5), message: another("fine") },
  });

describe("an interned message", () => {
  test("is equal to the original, and deeply frozen", () => {
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
        const pool = new InternPool();
        const before = interned(structuredClone(like), undefined, pool);
        const expected = structuredClone(value);
        const now = interned(structuredClone(value), before, pool);
        expect(now).toEqual(expected);
        expect(Object.keys(now as object)).toEqual(Object.keys(expected as object));
        expect(deepFrozen(now)).toBe(true);
        expect(before).toEqual(like);
      }),
      { numRuns: 300 },
    );
  }, 60_000);

  test("shares its equal parts with the stored object, and no others", () => {
    const pool = new InternPool();
    const before = interned(message(), undefined, pool);
    const changed = message();
    changed.status!.message = "worse";
    const now = interned(changed, before, pool);
    expect(now).not.toBe(before);
    expect(now.status).not.toBe(before.status);
    expect(now.epoch).toBe(before.epoch);
    expect(now.status?.at).toBe(before.status?.at);
    expect(interned(message(), before, pool)).toBe(before);
  });

  test("has arrays without spare capacity, and shares one empty array", () => {
    const pool = new InternPool();
    const slots = [1, 2].map(() => interned(Slot.create({ leases: [] }), undefined, pool));
    expect(slots[0]?.leases).toBe(slots[1]?.leases);
  });

  test("with fewer fields than the stored one stays an object of its own", () => {
    const pool = new InternPool();
    const like = interned({ a: 1, b: 2 }, undefined, pool);
    expect(interned({ a: 1 }, like, pool)).toEqual({ a: 1 });
    expect(
      Object.keys(interned({ a: undefined, c: undefined }, interned({ a: undefined }, undefined, pool), pool)),
    ).toEqual(["a", "c"]);
    expect(
      interned(Epoch.create({ reign: 1 }), interned(Epoch.create({ reign: 2 }), undefined, pool), pool).reign,
    ).toBe(1);
  });
});
