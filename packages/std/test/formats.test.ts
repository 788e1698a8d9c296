import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  formatHostPort,
  ipv4Number,
  ipv4SubnetHas,
  ipv4Text,
  parseHostPort,
  parseIpv4Subnet,
  pushVarint,
  readVarint,
  varintSize,
} from "@warren/std";

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

describe("IPv4 addresses and subnets", () => {
  test("an address is the same text after it was a number", () => {
    const byte = fc.nat(255);
    fc.assert(
      fc.property(fc.tuple(byte, byte, byte, byte), (bytes) => {
        expect(ipv4Text(ipv4Number(bytes.join(".")) as number)).toBe(bytes.join("."));
      }),
    );
    expect(ipv4Number("255.255.255.255")).toBe(2 ** 32 - 1);
  });

  test.each(["", "1.2.3", "1.2.3.256", "1.2.3.4.5", "a.b.c.d", "::1", " 1.2.3.4", "01.2.3.4"])(
    "%j is not an address",
    (text) => {
      expect(ipv4Number(text)).toBeUndefined();
    },
  );

  test("a subnet has a first address, a size and a prefix; bits beyond the prefix are dropped", () => {
    expect(parseIpv4Subnet("10.77.1.9/24")).toEqual({ first: ipv4Number("10.77.1.0"), size: 256, prefix: 24 });
    expect(parseIpv4Subnet("255.255.255.255/32")).toEqual({ first: 2 ** 32 - 1, size: 1, prefix: 32 });
    expect(parseIpv4Subnet("0.0.0.0/0")).toEqual({ first: 0, size: 2 ** 32, prefix: 0 });
  });

  test.each(["10.0.0.0", "10.0.0.256/8", "10.0.0.0/33", "10.0.0.0/8/8", "10.0.0.0/", "fd00::/8", ""])(
    "%j is not a subnet",
    (text) => {
      expect(parseIpv4Subnet(text)).toBeUndefined();
    },
  );

  test("a subnet has the addresses from its first to its last, and no others", () => {
    const subnet = parseIpv4Subnet("10.77.1.0/24")!;
    for (const inside of ["10.77.1.0", "10.77.1.255"]) expect(ipv4SubnetHas(subnet, inside)).toBe(true);
    for (const outside of ["10.77.0.255", "10.77.2.0", "fd00::1", "x"])
      expect(ipv4SubnetHas(subnet, outside)).toBe(false);
  });
});
