import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { extendStop, machineGoesDown } from "../src/index.ts";

const before = { ...process.env };
let programs: string;
beforeEach(() => {
  programs = mkdtempSync(join(tmpdir(), "warren-systemd-"));
  process.env["PATH"] = `${programs}:/usr/bin:/bin`;
});
afterEach(() => {
  process.env = { ...before };
  rmSync(programs, { recursive: true });
});

function program(name: string, script: string): void {
  writeFileSync(join(programs, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}

test.each([
  // As systemd 252 and 257 print them.
  ["a reboot", "  2137 shutdown.target start waiting", true],
  ["a power-off, padded", "2137 shutdown.target     start running", true],
  ["a restart of the daemon", "", false],
  ["a stop of the target, as a shutdown is called off", "2137 shutdown.target stop waiting", false],
  ["another target", "12 my-shutdown.target.service start waiting", false],
])("of %s: whether the machine goes down", async (_what, jobs, expected) => {
  program("systemctl", `[ "$*" = "list-jobs --no-legend shutdown.target" ] && echo "${jobs}"`);
  expect(await machineGoesDown()).toBe(expected);
});

test("a machine without systemd, or whose systemd does not answer, is not said to go down", async () => {
  process.env["PATH"] = programs;
  expect(await machineGoesDown()).toBe(false);
  process.env["PATH"] = `${programs}:/usr/bin:/bin`;
  program("systemctl", "echo 'Failed to connect to bus' >&2; exit 1");
  expect(await machineGoesDown()).toBe(false);
});

test("more time is asked for in microseconds, by a unit's daemon alone", async () => {
  program("systemd-notify", `echo "$*" >>${programs}/asked`);
  writeFileSync(join(programs, "asked"), "");
  delete process.env["NOTIFY_SOCKET"];
  await extendStop(1_000);
  expect(readFileSync(join(programs, "asked"), "utf8")).toBe("");
  process.env["NOTIFY_SOCKET"] = "/run/systemd/notify";
  await extendStop(90_000.5);
  expect(readFileSync(join(programs, "asked"), "utf8")).toBe("EXTEND_TIMEOUT_USEC=90001000\n");
});
