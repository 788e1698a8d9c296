import { expect, test } from "vitest";
import type { SlotKey } from "../src/index.ts";
import { keyOfSlot, numberedSlot, slotIdOf } from "../src/model/index.ts";

const index = (iteration: number, of: number): SlotKey => ({
  key: { $case: "index", value: { iteration, index: of } },
});

test("L19: slots of each kind of service have ids of their own, from which their keys are read", () => {
  const keys = [
    numberedSlot(1),
    numberedSlot(12),
    { key: { $case: "nodeId" as const, value: "n1" } },
    index(1, 2),
    index(2, 1),
    index(2, 2),
    index(12, 2),
  ];
  const ids = keys.map((key) => slotIdOf("svc", key));
  expect(new Set(ids).size).toBe(keys.length);
  expect(ids.map(keyOfSlot)).toEqual(keys);
});
