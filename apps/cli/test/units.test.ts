import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatAge, formatBytes, parseBytes, parseCpus, parseDuration, parseMoment, UnitError } from "../src/units.ts";

test.for([
  ["0", 0],
  ["500ms", 500],
  ["10s", 10_000],
  ["1.5s", 1_500],
  ["1h30m", 5_400_000],
  ["2d", 172_800_000],
] as const)("%s is %i ms", ([text, ms]) => {
  expect(parseDuration(text)).toBe(ms);
});

test.for(["", "10", "s", "-1s", "1s 2s", "1x", "1s2"])("'%s' is refused as a duration", (text) => {
  expect(() => parseDuration(text)).toThrow(UnitError);
});

test.for([
  ["0", 0],
  ["1000", 1_000],
  ["64k", 65_536],
  ["512m", 536_870_912],
  ["512MiB", 536_870_912],
  ["1.5G", 1_610_612_736],
  ["1t", 1_099_511_627_776],
] as const)("%s is %i bytes", ([text, bytes]) => {
  expect(parseBytes(text)).toBe(bytes);
});

test.for(["", "m", "1x", "-1", "1 m b", "0.1", "1.5", "0.0001k"])("'%s' is refused as a size", (text) => {
  expect(() => parseBytes(text)).toThrow(UnitError);
});

test("processors are read to the nano-CPU", () => {
  expect(parseCpus("0.5")).toBe(500_000_000);
  expect(parseCpus("2")).toBe(2_000_000_000);
  expect(parseCpus("0.000000001")).toBe(1);
  expect(parseCpus(".5")).toBe(500_000_000);
  for (const text of ["", "-1", "1e3", ".", "0.0000000001"]) expect(() => parseCpus(text)).toThrow(UnitError);
});

describe("a moment", () => {
  const now = Date.UTC(2026, 10, 24, 10);
  test("is a duration ago or a time", () => {
    expect(parseMoment("10m", now).toISOString()).toBe("2026-11-24T09:50:00.000Z");
    expect(parseMoment("2026-11-24T09:00:00Z", now).toISOString()).toBe("2026-11-24T09:00:00.000Z");
  });
  test("is seconds since 1970, or a day where the caller is, as with Docker", () => {
    expect(parseMoment("1136073600", now).toISOString()).toBe("2006-01-01T00:00:00.000Z");
    expect(parseMoment("2026-11-24", now)).toEqual(new Date(2026, 10, 24));
  });
  test("is refused where it is neither", () => {
    expect(() => parseMoment("yesterday", now)).toThrow("'yesterday' is not a time");
    for (const text of ["10", "2026", "1 Jan 2026", ""]) expect(() => parseMoment(text, now)).toThrow(UnitError);
  });
});

test("a size that is shown is within 5 % of what it was", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 48 }), (bytes) => {
      const shown = parseBytes(formatBytes(bytes).replace(" ", ""));
      expect(Math.abs(shown - bytes)).toBeLessThanOrEqual(bytes * 0.05);
    }),
  );
});

test.for([
  [0, "0s"],
  [59_999, "59s"],
  [60_000, "1m"],
  [7_200_000, "2h"],
  [172_800_000, "2d"],
  [-5, "0s"],
] as const)("%i ms ago is shown as %s", ([ms, text]) => {
  expect(formatAge(ms)).toBe(text);
});
