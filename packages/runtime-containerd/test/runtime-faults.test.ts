import { expect, test } from "vitest";
import { ignoresTmpfsModes, knownRuntimeFaults } from "../src/runtime-faults.ts";

const ids = (ociRuntime: string): string[] => knownRuntimeFaults({ ociRuntime }).map(({ id }) => id);

test.each([
  ["runc 1.5.3", []],
  ["runc 1.6.0-rc.1", []],
  ["runc 2.0.0", []],
  ["runc 1.5.0-rc.2", ["CVE-2026-41579"]],
  ["runc 1.4.2", ["CVE-2026-41579"]],
  ["runc 1.4.0-rc.2", ["CVE-2026-41579", "CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881"]],
  ["runc 1.3.3", ["CVE-2026-41579"]],
  ["runc 1.2.8 (v1.2.8-0-geeb7e602)", ["CVE-2026-41579"]],
  ["runc 1.1.12", ["CVE-2026-41579", "CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881", "CVE-2024-45310"]],
  ["crun 1.20", []],
  ["", []],
])("%s has %j", (build, expected) => {
  expect(ids(build)).toEqual(expected);
});

test("what a distribution has mended under the old version is not named", () => {
  expect(ids("runc 1.1.5+ds1 (1.1.5+ds1-1+deb12u1)")).not.toContain("CVE-2024-21626");
  expect(ids("runc 1.1.5+ds1 (1.1.5+ds1-1)")).toContain("CVE-2024-21626");
  const [first] = knownRuntimeFaults({ ociRuntime: "runc 1.1.5" });
  expect(first?.remedy).toMatch(/^take a build with 1\.3\.6 or 1\.4\.3 or 1\.5\.0 or later/);
});

test.each([
  ["runc 1.1.5+ds1 (1.1.5+ds1-1+deb12u1)", true],
  ["runc 1.0.3", true],
  ["runc 1.1.8", true],
  ["runc 1.1.9", false],
  ["runc 1.1.15+ds1 (1.1.15+ds1-2+b4)", false],
  ["runc 1.3.0", false],
  ["crun 1.20", false],
  ["", false],
])("%s ignores the mode of a tmpfs: %s", (ociRuntime, expected) => {
  expect(ignoresTmpfsModes({ ociRuntime })).toBe(expected);
});
