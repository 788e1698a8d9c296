import { test, expect } from "vitest";
import { FakeClock } from "@warren/std/testing";
test("x", () => expect(new FakeClock(5).now()).toBe(5));
