import { abortable, abortableOrUndefined, aborted } from "@warren/std";
import { expect, test } from "vitest";

test("abortable settles as the work does, and rejects with the reason of an abort that comes first", async () => {
  const abort = new AbortController();
  expect(await abortable(Promise.resolve(1), abort.signal)).toBe(1);
  await expect(abortable(Promise.reject(new Error("broke")), abort.signal)).rejects.toThrow("broke");
  const never = abortable(new Promise(() => undefined), abort.signal);
  const reasonOfAbort = aborted(abort.signal);
  const reason = new Error("over");
  abort.abort(reason);
  await expect(never).rejects.toBe(reason);
  expect(await reasonOfAbort).toBe(reason);
  await expect(abortable(new Promise(() => undefined), abort.signal)).rejects.toBe(reason);
  expect(await aborted(abort.signal)).toBe(reason);
});

test("abortableOrUndefined settles as the work does, and resolves with undefined at an abort", async () => {
  const abort = new AbortController();
  expect(await abortableOrUndefined(Promise.resolve(1), abort.signal)).toBe(1);
  await expect(abortableOrUndefined(Promise.reject(new Error("broke")), abort.signal)).rejects.toThrow("broke");
  const never = abortableOrUndefined(new Promise(() => undefined), abort.signal);
  abort.abort();
  expect(await never).toBeUndefined();
});
