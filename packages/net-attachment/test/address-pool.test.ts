import * as fc from "fast-check";
import { expect, test } from "vitest";
import { AddressPool } from "@warren/net-attachment";

test("a /24 gives 253 addresses, in order, and says when there are no more", () => {
  const pool = new AddressPool("10.77.1.0/24");
  const given = Array.from({ length: 253 }, () => pool.allocate());
  expect([given[0], given.at(-1)]).toEqual(["10.77.1.2", "10.77.1.254"]);
  expect(new Set(given).size).toBe(253);
  expect(() => pool.allocate()).toThrow(expect.objectContaining({ code: "ADDRESS_POOL_EMPTY" }));
});

test("an address that comes back is given again after all others, the longest free first", () => {
  const pool = new AddressPool("10.77.1.0/29");
  const [a, b] = [pool.allocate(), pool.allocate()];
  pool.release(b);
  pool.release(a);
  expect(Array.from({ length: 5 }, () => pool.allocate())).toEqual([
    "10.77.1.4",
    "10.77.1.5",
    "10.77.1.6",
    "10.77.1.3",
    "10.77.1.2",
  ]);
});

test("addresses in use at the start are not given; foreign and doubly reserved ones are told", () => {
  const pool = new AddressPool("10.77.1.0/24", ["10.77.1.2", "10.77.1.4"]);
  expect([pool.allocate(), pool.allocate()]).toEqual(["10.77.1.3", "10.77.1.5"]);
  expect(pool.reserve("10.77.1.4")).toBe(false);
  expect(pool.reserve("10.77.1.1")).toBe(false);
  expect(pool.reserve("10.78.1.9")).toBe(false);
  expect(pool.reserve("nonsense")).toBe(false);
  expect(pool.reserve("10.77.1.9")).toBe(true);
});

test.each(["10.77.1.0", "10.77.1.0/31", "10.77.1.0/33", "fd00::/64", "x/24"])("%s is no pool", (subnet) => {
  expect(() => new AddressPool(subnet)).toThrow(expect.objectContaining({ code: "ATTACHMENT_INVALID" }));
});

test("whatever is allocated, reserved and released, no address is in use twice and none is lost", () => {
  const step = fc.oneof(
    fc.constant("allocate" as const),
    fc.nat(20),
    fc.nat(20).map((n) => `reserve ${n}`),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const pool = new AddressPool("10.0.0.0/28");
      const used = new Set<string>();
      for (const what of steps) {
        if (typeof what === "number") {
          const address = [...used][what];
          if (address !== undefined) pool.release(address);
          used.delete(address ?? "");
        } else if (what === "allocate") {
          if (used.size === 13) expect(() => pool.allocate()).toThrow();
          else {
            const address = pool.allocate();
            expect(used.has(address)).toBe(false);
            used.add(address);
          }
        } else {
          const address = `10.0.0.${what.split(" ")[1]}`;
          if (pool.reserve(address)) {
            expect(used.has(address)).toBe(false);
            used.add(address);
          }
        }
        expect(pool.free).toBe(13 - used.size);
      }
    }),
  );
});
