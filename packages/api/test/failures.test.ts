import { ApiError, apiFailureOf, errorOfApiFailure, invalid } from "@warren/api";
import { WarrenError } from "@warren/std";
import { describe, expect, it } from "vitest";

describe("a failure inside a message", () => {
  it.each([
    [{ code: "API_NOT_FOUND", kind: "task", ref: "web.1" }],
    [{ code: "API_AMBIGUOUS", kind: "task", ref: "w", candidates: ["web.1", "web.2"] }],
    [{ code: "API_ALREADY_EXISTS", kind: "network", name: "blue" }],
    [{ code: "API_UNAVAILABLE" }],
    [{ code: "API_UNAUTHENTICATED" }],
    [{ code: "API_INTERNAL", id: "abc" }],
  ] as const)("%o comes back as it was", (failure) => {
    const record = apiFailureOf(new ApiError(failure, "why", { remedy: "do this", reason: "RUNTIME_GONE" }));
    const back = errorOfApiFailure(structuredClone(record));
    expect(back).toBeInstanceOf(ApiError);
    expect(back).toMatchObject({ failure, message: "why", remedy: "do this", reason: "RUNTIME_GONE" });
  });

  it("keeps the code of a package below as the reason", () => {
    const record = apiFailureOf(new WarrenError({ code: "STORE_NOT_LEADER" }, "does not lead"));
    expect(record).toMatchObject({ code: "API_UNAVAILABLE", reason: "STORE_NOT_LEADER", message: "does not lead" });
  });

  it("says nothing of a fault of ours", () => {
    expect(apiFailureOf(new TypeError("secret"))).toEqual({
      code: "API_INTERNAL",
      message: "internal error",
      remedy: "",
      reason: "API_INTERNAL",
      fields: {},
    });
  });

  it("has its violations in the message", () => {
    const record = apiFailureOf(invalid([{ field: "command", description: "is empty" }]));
    expect(errorOfApiFailure(record)).toMatchObject({ code: "API_INVALID", message: "command: is empty" });
  });

  it("of a code that this version does not know is INTERNAL, and its code the reason", () => {
    for (const code of ["API_FUTURE", "", "constructor"])
      expect(errorOfApiFailure({ code, message: "new" })).toMatchObject({ code: "API_INTERNAL", reason: code });
  });
});
