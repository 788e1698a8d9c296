#!/usr/bin/env node
/**
 * The part of systemctl that the command line calls, for machines that systemd does not run: starts and stops what a unit's
 * ExecStart names. Its state is beside the units, in `/etc/systemd/system`.
 */
import { spawn } from "node:child_process";
import { existsSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { splitWords } from "../src/service/flag-syntax.ts";

const directory = "/etc/systemd/system";
const [command = "", ...words] = process.argv.slice(2);
const units = words.filter((word) => !word.startsWith("-")).map((word) => word.replace(/(\.service)?$/, ".service"));

const path = (unit: string): string => `${directory}/${unit}`;
const pidPath = (unit: string): string => `${path(unit)}.pid`;

function start(unit: string): void {
  const [, line = ""] = /^ExecStart=(.+)$/m.exec(readFileSync(path(unit), "utf8")) ?? [];
  const [program = "", ...args] = splitWords(line).map((word) => word.replaceAll("%%", "%"));
  const log = openSync(`${path(unit)}.log`, "a");
  const child = spawn(program, args, {
    detached: true,
    stdio: ["ignore", log, log],
    cwd: "/",
    env: { PATH: "/usr/bin:/usr/sbin:/bin:/sbin" },
  });
  writeFileSync(pidPath(unit), String(child.pid));
  child.unref();
}

async function stop(unit: string): Promise<void> {
  if (!existsSync(pidPath(unit))) return;
  const pid = Number(readFileSync(pidPath(unit), "utf8"));
  rmSync(pidPath(unit));
  const isThere = (): boolean => existsSync(`/proc/${pid}/cmdline`) && readFileSync(`/proc/${pid}/cmdline`).length > 0;
  if (isThere()) process.kill(pid, "SIGTERM");
  while (isThere()) await new Promise((resolve) => setTimeout(resolve, 20));
}

writeFileSync(`${directory}/calls`, `${[command, ...words].join(" ")}\n`, { flag: "a" });
for (const unit of units) {
  if (!existsSync(path(unit))) {
    process.stderr.write(`No files found for ${unit}.\n`);
    process.exit(1);
  }
  switch (command) {
    case "cat":
      process.stdout.write(`# ${path(unit)}\n${readFileSync(path(unit), "utf8")}`);
      break;
    case "enable":
      if (!existsSync(pidPath(unit))) start(unit);
      break;
    case "restart":
      await stop(unit);
      start(unit);
      break;
    case "disable":
      await stop(unit);
      break;
    default:
      throw new Error(`no such command: ${command}`);
  }
}
