import { abortable, aborted } from "@warren/std";
import { expect, test } from "vitest";

test("work that settles first is what it comes to, and an abort first is its reason", async () => {
  const abort = new AbortController();
  expect(await abortable(Promise.resolve(1), abort.signal)).toBe(1);
  await expect(abortable(Promise.reject(new Error("broke")), abort.signal)).rejects.toThrow("broke");
  const never = abortable(new Promise(() => undefined), abort.signal);
  const told = aborted(abort.signal);
  const reason = new Error("over");
  abort.abort(reason);
  await expect(never).rejects.toBe(reason);
  expect(await told).toBe(reason);
  await expect(abortable(new Promise(() => undefined), abort.signal)).rejects.toBe(reason);
  expect(await aborted(abort.signal)).toBe(reason);
});
