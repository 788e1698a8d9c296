import { AssignmentKind } from "@warren/api";
import { assignedKinds, assignmentDigest, assignmentDigestBytes, inSendingOrder, kindName } from "@warren/api/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

describe("changes in sending order", () => {
  const change = fc.record({
    kind: fc.constantFrom(...Object.values(assignedKinds).map(({ kind }) => kind)),
    object: fc.option(fc.constant(Buffer.alloc(1)), { nil: undefined }),
    key: fc.string(),
  });
  const rankOf = (kind: AssignmentKind): number => assignedKinds[kindName(kind)!].rank;

  test("are removals of backends, then each object before those that need it, then other removals in reverse order", () => {
    fc.assert(
      fc.property(fc.array(change), (changes) => {
        const sorted = inSendingOrder(changes);
        expect(sorted).toHaveLength(changes.length);
        for (const [at, each] of sorted.entries()) {
          const next = sorted[at + 1];
          if (next === undefined) continue;
          const leaves = ({ kind, object }: typeof each): boolean =>
            object === undefined && kind === AssignmentKind.BACKEND;
          if (leaves(next)) expect(leaves(each)).toBe(true);
          if (leaves(each)) continue;
          if (each.object === undefined) expect(next.object).toBeUndefined();
          if (each.object !== undefined && next.object !== undefined)
            expect(rankOf(each.kind)).toBeLessThanOrEqual(rankOf(next.kind));
          if (each.object === undefined && next.object === undefined)
            expect(rankOf(each.kind)).toBeGreaterThanOrEqual(rankOf(next.kind));
        }
      }),
    );
  });

  test("keep the order of those that have none", () => {
    const leases = ["b", "a", "c"].map((key) => ({ kind: AssignmentKind.LEASE, key, object: Buffer.alloc(1) }));
    expect(inSendingOrder(leases)).toEqual(leases);
  });
});

test("a digest names an object by kind, key and bytes", () => {
  const of = (kind: AssignmentKind, key: string, byte: number): string =>
    assignmentDigest(kind, key, Buffer.from([byte])).toString("hex");
  const digests = [
    of(AssignmentKind.LEASE, "a", 1),
    of(AssignmentKind.BACKEND, "a", 1),
    of(AssignmentKind.LEASE, "b", 1),
    of(AssignmentKind.LEASE, "a", 2),
  ];
  expect(new Set(digests).size).toBe(4);
  expect(of(AssignmentKind.LEASE, "a", 1)).toBe(digests[0]);
  expect(digests[0]).toHaveLength(2 * assignmentDigestBytes);
});
