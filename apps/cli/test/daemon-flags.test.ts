/** Daemons' flag files and units. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Parser } from "@oclif/core";
import { describe, expect, onTestFinished, test } from "vitest";
import { ManagerCommand, WorkerCommand } from "../src/commands/daemon.ts";
import { flagFile, parseFlagFile, readFlagFile, writeFlagFile } from "../src/flag-file.ts";
import { foldersOfUnit, unitName, unitText } from "../src/systemd.ts";

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "warren-flags-"));
  onTestFinished(() => rmSync(path, { recursive: true }));
  return path;
}

describe("a flag file", () => {
  test.for([
    [["--containerd", "/run/x.sock", "--image-grace", "2h"], "--containerd /run/x.sock\n--image-grace 2h\n"],
    [["--registry-mirror", "docker.io=https://a b/'c'"], "--registry-mirror 'docker.io=https://a b/'\\''c'\\'''\n"],
    [["--metrics-addr="], "--metrics-addr=\n"],
  ] as const)("keeps %j", ([words, text]) => {
    const dataDir = folder();
    writeFlagFile("worker", { dataDir }, words);
    expect(readFileSync(flagFile("worker", { dataDir }), "utf8")).toBe(text);
    expect(readFlagFile("worker", { dataDir })).toEqual(words);
    expect(readFlagFile("manager", { dataDir })).toEqual([]);
    writeFlagFile("worker", { dataDir }, []);
    expect(readFlagFile("worker", { dataDir })).toEqual([]);
  });

  test("may be written by hand: over lines, with comments", () => {
    expect(parseFlagFile("# ours\n--a b\n\n  # c\n--d 'e f'\n")).toEqual(["--a", "b", "--d", "e f"]);
  });

  test("can't say where it is itself, and what can't be read is refused by its path", () => {
    const dataDir = folder();
    const path = flagFile("worker", { dataDir });
    for (const [text, why] of [
      ["--data-dir /x", "--data-dir belongs on the daemon's command line"],
      ["--a 'b", "a quote is open"],
    ] as const) {
      writeFileSync(path, text);
      expect(() => readFlagFile("worker", { dataDir })).toThrow(`${path}: ${why}`);
    }
  });
});

describe("what a daemon would not start with is refused where its flags are read", () => {
  const parse = (name: string, words: readonly string[]): Promise<unknown> =>
    Parser.parse([...words], { flags: name === "manager" ? ManagerCommand.flags : WorkerCommand.flags });
  test.for([
    ["worker", "--image-grace", "soon", "'soon' is not a duration"],
    ["worker", "--log-grace", "5", "'5' has no unit"],
    ["worker", "--registry-mirror", "docker.io", "want KEY=VALUE"],
    ["worker", "--registry-mirror", "docker.io=", "is not a URL"],
    ["worker", "--registry-mirror", "docker.io=http://far.example", "plain HTTP is for this machine's own address"],
    ["worker", "--dns-upstream", "example", "'example' is not a name server"],
    ["worker", "--metrics-addr", "localhost", "'localhost' is not an address to listen on"],
    ["manager", "--metrics-addr", "127.0.0.1:70000", "is not an address to listen on"],
  ] as const)("%s %s %s", async ([name, flag, value, why]) => {
    await expect(parse(name, [flag, value])).rejects.toThrow(why);
  });

  test("and what it starts with is taken", async () => {
    const times = "--image-grace 2h --log-grace 0 --metrics-addr [::1]:0";
    const servers = "--dns-upstream 192.0.2.1 --dns-upstream [2001:db8::1]:53";
    const mirrors =
      "--registry-mirror docker.io=https://mirror.example --registry-mirror r.test=http://127.0.0.1:5000/v";
    await parse("worker", `${times} ${servers} ${mirrors}`.split(" "));
    await parse("manager", ["--metrics-addr", "off"]);
  });
});

const program = ["/opt/node 24/bin/node", "/opt/100%/warren.js"];

describe.each(["manager", "worker"] as const)("the %s's unit", (name) => {
  test("is what systemd takes", () => {
    const directory = folder();
    // What it runs must be there for systemd to find nothing wrong.
    writeFileSync(join(directory, "warren me"), "#!/bin/sh\n", { mode: 0o755 });
    const path = join(directory, unitName(name));
    writeFileSync(path, unitText(name, [join(directory, "warren me"), "--flag=50%"]));
    const said = execFileSync("sh", ["-c", `systemd-analyze verify '${path}' 2>&1`], { encoding: "utf8" });
    expect(said).toBe("");
    writeFileSync(path, unitText(name, ["/bin/true"]).replace("Restart=", "Restrat="));
    const wrong = execFileSync("sh", ["-c", `systemd-analyze verify '${path}' 2>&1`], { encoding: "utf8" });
    expect(wrong).toContain("Restrat");
  });

  test("runs the daemon on the machine's own directories, whatever the program's path", () => {
    const text = unitText(name, program);
    expect(text).toContain(
      `\nExecStart="/opt/node 24/bin/node" /opt/100%%/warren.js ${name} --data-dir /var/lib/warren --run-dir /run/warren\n`,
    );
    expect(foldersOfUnit(text)).toEqual({ dataDir: "/var/lib/warren", runDir: "/run/warren" });
  });

  test("is begun again whatever ended it, and is not the first to go when memory is short", () => {
    const lines = unitText(name, program).split("\n");
    expect(lines).toEqual(
      expect.arrayContaining(["Restart=always", "StartLimitIntervalSec=0", "TasksMax=infinity", "OOMScoreAdjust=-900"]),
    );
  });

  test("has what the guide says of it", () => {
    const guide = readFileSync(new URL("../../../docs/guide.md", import.meta.url), "utf8");
    const section = guide.slice(guide.indexOf("### Units"), guide.indexOf("## Services"));
    const rows = [...section.matchAll(/^\| (`.+?`)( \(worker\))? \|/gm)];
    expect(rows.length).toBeGreaterThan(3);
    const said = rows
      .filter(([, , ofWorker]) => ofWorker === undefined || name === "worker")
      .flatMap(([, settings = ""]) => [...settings.matchAll(/`([^`]+)`/g)].map(([, each]) => each));
    expect(unitText(name, program).split("\n")).toEqual(expect.arrayContaining(said));
  });
});

test("a restart of the worker ends none of what it started, and its containers' cgroups are its own", () => {
  const lines = unitText("worker", program).split("\n");
  expect(lines).toEqual(expect.arrayContaining(["KillMode=process", "Delegate=yes"]));
});

test("the directories of a unit are those of its last command, drop-ins included", () => {
  const edited = `${unitText("worker", program)}\n# drop-in\n[Service]\nExecStart=\nExecStart=/usr/bin/warren worker --data-dir=/srv/w\n`;
  expect(foldersOfUnit(edited)).toEqual({ dataDir: "/srv/w", runDir: "/run/warren" });
  expect(foldersOfUnit("[Unit]\n")).toBeUndefined();
});
