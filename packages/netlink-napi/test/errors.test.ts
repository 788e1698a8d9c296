import { NetlinkError } from "@warren/netlink-napi";
import { expect, test } from "vitest";

test("an error of another copy of the package is recognised by its class's name, and by one of the codes", () => {
  const copy = (() => {
    class NetlinkError extends Error {
      readonly code = "ENODEV";
    }
    return new NetlinkError("no such device");
  })();
  expect(NetlinkError.is(copy)).toBe(true);
  expect(NetlinkError.is(copy, "EEXIST", "ENODEV")).toBe(true);
  expect(NetlinkError.is(copy, "EEXIST")).toBe(false);
  expect(NetlinkError.is(new NetlinkError("EPERM", "no"), "EPERM")).toBe(true);
  expect(NetlinkError.is(Object.assign(new Error("no"), { code: "ENODEV" }), "ENODEV")).toBe(false);
  expect(NetlinkError.is("ENODEV")).toBe(false);
});
