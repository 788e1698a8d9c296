import { TaskSpec, type Version } from "@warren/api";
import type { Transaction } from "@warren/store";
import { expect, test, vi } from "vitest";

import { createVersion } from "../src/versions.ts";

vi.mock(import("@warren/api/model"), async (original) => ({ ...(await original()), level: 2 as 1 }));

test("L20: a version needs the level of what it says, not that of the program that makes it", () => {
  const made: Version[] = [];
  const create = (_: string, version: Version): string => {
    made.push(version);
    return "v";
  };
  const task = TaskSpec.fromPartial({ container: { image: "nginx" } });
  createVersion({ create } as unknown as Transaction, {
    serviceId: "s",
    number: 1,
    task,
    imageDigest: "",
    before: undefined,
  });
  expect(made).toMatchObject([{ level: 1 }]);
});
