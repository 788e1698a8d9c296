import { ApiError } from "@warren/api";
import { expect, test } from "vitest";
import { answered } from "../src/commands/cluster.ts";

const unit = { kind: "unit", unit: "warren-manager.service" } as const;
const late = new ApiError({ code: "API_DEADLINE" }, "the manager did not respond in time");
const busy = new ApiError({ code: "API_ABORTED" }, "another init of this manager is under way");
const away = new ApiError({ code: "API_UNAVAILABLE" }, "no manager");

/** What init comes to where the manager's answers are these, one after the other. */
function answers(...errors: readonly ApiError[]): Promise<string> {
  const left = [...errors];
  const ask = async (): Promise<string> => {
    const error = left.shift();
    if (error !== undefined) throw error;
    return "founded";
  };
  return answered(ask, unit, new AbortController().signal, undefined);
}

test("a manager that needs longer to found its cluster than a call waits is asked again", async () => {
  expect(await answers(away, late, busy, busy, late, away)).toBe("founded");
});

test("an init that somebody else has begun is left to them", async () => {
  await expect(answers(away, busy)).rejects.toBe(busy);
});

test("a refusal is one, also of a manager that was late", async () => {
  const refused = new ApiError({ code: "API_INVALID", violations: [] }, "no");
  await expect(answers(late, refused)).rejects.toBe(refused);
});
