import { describe, expect, test } from "vitest";
import { formatHostPort, parseHostPort, pushVarint, readVarint, varintSize } from "@warren/std";

describe("HOST:PORT", () => {
  test.each([
    ["127.0.0.1:9090", "127.0.0.1", 9090],
    ["manager.example:2377", "manager.example", 2377],
    ["[::1]:0", "::1", 0],
    ["[fe80::1%eth0]:65535", "fe80::1%eth0", 65_535],
    ["[::ffff:192.0.2.1]:1", "::ffff:192.0.2.1", 1],
  ])("%s is read and written back", (text, host, port) => {
    expect(parseHostPort(text)).toEqual({ host, port });
    expect(formatHostPort({ host, port })).toBe(text);
  });

  test.each(["9090", "::1:9", "host:99999", "host:", ":80", "", "a b:1", "[::1:1", "http://a:1", "a@b:1", "host:-1"])(
    "'%s' is refused",
    (text) => {
      expect(parseHostPort(text)).toBeUndefined();
    },
  );

  test("a default port stands in where the text has none", () => {
    expect(parseHostPort("host", 2377)).toEqual({ host: "host", port: 2377 });
    expect(parseHostPort("[::1]", 2377)).toEqual({ host: "::1", port: 2377 });
    expect(parseHostPort("host:1", 2377)).toEqual({ host: "host", port: 1 });
    expect(parseHostPort("host")).toBeUndefined();
  });
});

describe("varints", () => {
  test.each([0, 1, 127, 128, 300, 16_383, 16_384, 2 ** 32, Number.MAX_SAFE_INTEGER])("%d survives", (value) => {
    const bytes: number[] = [];
    pushVarint(bytes, value);
    expect(bytes).toHaveLength(varintSize(value));
    expect(readVarint([9, ...bytes, 9], 1)).toEqual({ value, end: 1 + bytes.length });
    expect(readVarint(bytes.slice(0, -1), 0)).toBeUndefined();
  });

  test("300 is protobuf's ac 02, and a number above 2^53 - 1 is refused", () => {
    const bytes: number[] = [];
    pushVarint(bytes, 300);
    expect(bytes).toEqual([0xac, 0x02]);
    expect(readVarint([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], 0)).toBeUndefined();
  });
});
