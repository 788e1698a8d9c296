/**
 * A machine whose systemd has our units: a mount namespace in which systemd seems to run, with a `systemctl` that starts
 * and stops what a unit's ExecStart names. What the guide says of units is run in it.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

const program = join(import.meta.dirname, "../bin/warren.js");
const systemctl = join(import.meta.dirname, "systemctl.ts");

let tools: string;
let machine: ChildProcess;
beforeAll(async () => {
  tools = mkdtempSync(join(tmpdir(), "warren-units-"));
  const node = `exec ${process.execPath}`;
  writeFileSync(join(tools, "warren"), `#!/bin/sh\n${node} ${program} "$@"\n`, { mode: 0o755 });
  writeFileSync(join(tools, "systemctl"), `#!/bin/sh\n${node} --conditions=warren-source ${systemctl} "$@"\n`, {
    mode: 0o755,
  });
  const mounts = [
    "mkdir -p /etc/systemd/system",
    "mount -t tmpfs tmpfs /etc/systemd/system",
    "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system",
    "mkdir /run/lib && mount -t tmpfs tmpfs /run/lib && mkdir -p /run/lib/warren",
    "mount --bind /run/lib /var/lib",
  ];
  machine = spawn("unshare", ["--mount", "sh", "-c", `${mounts.join(" && ")} && echo there && exec sleep 1000000`]);
  const [said] = (await once(machine.stdout!, "data")) as [Buffer];
  expect(said.toString()).toBe("there\n");
});
afterAll(async () => {
  machine.kill();
  await once(machine, "exit");
  rmSync(tools, { recursive: true });
});

interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a line of shell on that machine. */
function sh(line: string): Finished {
  const env = { ...process.env, PATH: `${tools}:${process.env["PATH"] ?? ""}`, FORCE_COLOR: "0" };
  const { status, stdout, stderr } = spawnSync("nsenter", ["-t", String(machine.pid), "-m", "sh", "-c", line], {
    env,
    encoding: "utf8",
  });
  return { code: status, stdout, stderr };
}

function ok(line: string): string {
  const { code, stdout, stderr } = sh(line);
  if (code !== 0) throw new Error(`${line} ended with ${code}: ${stderr}`);
  return stdout;
}

const off = `--manager-flags "--metrics-addr off" --worker-flags "--metrics-addr off"`;
const second = "--data-dir /var/lib/second --run-dir /run/second";

test("what the guide says of units runs as it stands, and nothing of them is left", () => {
  const guide = readFileSync(join(import.meta.dirname, "../../../docs/guide.md"), "utf8");
  const section = guide.slice(guide.indexOf("### Units"), guide.indexOf("## Services"));
  const lines = [...section.matchAll(/^ {4}(.+)$/gm)].map(([, line = ""]) => line);
  expect(lines[0]).toContain("warren cluster init --worker-flags");
  const said = lines.map((line) => `$ ${line}\n${ok(line)}`).join("");
  expect(said).toContain("--image-grace 2h\n");
  expect(said).toContain("KillMode=process");
  expect(said).toMatch(/NODES READY[^]*1\/1/);
  expect(ok("ls /etc/systemd/system")).not.toContain(".service\n");
  expect(sh("ls -d /var/lib/warren /run/warren").stdout).toBe("");
});

test("init's flags hold with units, and a second cluster has daemons of its own, whose end leaves the first alone", () => {
  const { stderr } = sh(`warren cluster init ${off}`);
  expect(stderr).toContain("is ready");
  expect(ok("cat /var/lib/warren/worker.flags")).toBe("--metrics-addr off\n");
  expect(ok("grep ExecStart /etc/systemd/system/warren-worker.service")).toContain(
    " worker --data-dir /var/lib/warren ",
  );
  const pids = ok("cat /run/warren/manager.pid /run/warren/worker.pid");

  const other = sh(`warren cluster init --manager-only ${second} --manager-flags "--metrics-addr off"`);
  expect(other).toMatchObject({ code: 0, stderr: expect.stringContaining("a process of its own") as string });
  expect(ok("cat /var/lib/second/manager.flags")).toBe("--metrics-addr off\n");
  expect(ok(`warren cluster leave --force ${second}`)).toBe("");
  expect(sh("ls -d /var/lib/second /run/second").stdout).toBe("");
  expect(ok("cat /run/warren/manager.pid /run/warren/worker.pid")).toBe(pids);
  expect(ok("warren cluster info -o json")).toContain('"nodesReady": 1');

  // Given again it changes nothing, unless what it asks for is something else: that is refused.
  expect(sh(`warren cluster init --manager-flags "--log-level debug"`)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("runs already, with other flags") as string,
  });
  ok("warren cluster leave --force");
  expect(sh("ls -d /var/lib/warren /run/warren").stdout).toBe("");
}, 180_000);

test("a worker that ends at once is told at once, with where to look", () => {
  const begin = Date.now();
  const { code, stderr } = sh(`warren cluster init ${second} --worker-flags "--metrics-addr 192.0.2.1:1"`);
  expect(code).toBe(1);
  expect(stderr).toContain("the worker has ended: see /var/lib/second/worker.log");
  expect(Date.now() - begin).toBeLessThan(60_000);
  sh(`rm /var/lib/second/worker.flags; warren cluster leave --force ${second}`);
}, 120_000);

test.for([
  [`--worker-flags "--nonsense"`, /--worker-flags: .*--nonsense/],
  [`--worker-flags "--image-grace soon"`, /--worker-flags: --image-grace: 'soon' is not a duration/],
  [`--worker-flags "--registry-mirror docker.io"`, /--worker-flags: --registry-mirror: .*want KEY=VALUE/],
  [`--worker-flags "--registry-mirror docker.io=http://far.example"`, /plain HTTP is for this machine/],
  [`--worker-flags "--dns-upstream example"`, /--dns-upstream: 'example' is not a name server/],
  [`--manager-flags "--metrics-addr 9090"`, /--manager-flags: --metrics-addr: '9090' is not an address/],
  [`--worker-flags "--data-dir /x"`, /--worker-flags: give --data-dir to cluster init itself/],
  [`--manager-only --worker-flags "--log-level debug"`, /--manager-only starts no worker/],
] as const)("init %s is refused before anything is started", ([flags, why]) => {
  const { code, stderr } = sh(`warren cluster init ${flags}`);
  expect(stderr).toMatch(why);
  expect(code).toBe(2);
});
