/** Every flag of a service, set by the command line and read from inside the container, its cgroup or the network. */
import { once } from "node:events";
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "@warren/std/testing";
import { cgroupVersion, readCgroup } from "./cgroup.ts";
import { Machine } from "./machine.ts";

interface Row {
  readonly flags: readonly string[];
  /** After `--`; a shell command that ends in a wait where left out. */
  readonly args?: readonly string[];
  /** Run in the container by sh; its output is what is expected. */
  readonly look?: string;
  /** A file of the container's cgroup, by version. */
  readonly cgroup?: readonly [string, string];
  readonly expect: string | RegExp;
}

const zone = await mkdtemp(join(tmpdir(), "warren-fields-"));
await writeFile(join(zone, "shared"), "from the node\n");
await writeFile(join(zone, "env"), "FROM_FILE=file\nBOTH=file\n");

const status = (field: string): string => `sed -n 's/^${field}:\\s*//p' /proc/1/status`;
const limit = (name: string): string => `sed -n 's/^${name} *//p' /proc/1/limits | sed 's/  */ /g; s/ $//'`;

const rows: Readonly<Record<string, Row>> = {
  "entrypoint and arguments": {
    flags: ["--entrypoint", "sh -c"],
    args: ["exec sleep 4321"],
    look: "tr '\\0' ' ' </proc/1/cmdline",
    expect: "sleep 4321 ",
  },
  "arguments alone": {
    flags: [],
    args: ["sleep", "5432"],
    look: "tr '\\0' ' ' </proc/1/cmdline",
    expect: "sleep 5432 ",
  },
  env: {
    flags: ["--env", "A=one two", "--env", "EMPTY="],
    look: 'echo "$A/$EMPTY/${EMPTY+set}"',
    expect: "one two//set\n",
  },
  "env-file": {
    flags: ["--env-file", join(zone, "env"), "--env", "BOTH=flag"],
    look: 'echo "$FROM_FILE $BOTH"',
    expect: "file flag\n",
  },
  workdir: { flags: ["--workdir", "/etc"], look: "readlink /proc/1/cwd", expect: "/etc\n" },
  user: { flags: ["--user", "web"], look: `${status("Uid")}; ${status("Gid")}`, expect: /^1000\s+1000.*\n1001\s+1001/ },
  group: {
    flags: ["--user", "1000:1001", "--group", "staff", "--group", "77"],
    look: status("Groups"),
    expect: /\b50\b.*\b77\b/,
  },
  hostname: { flags: ["--hostname", "edge-1"], look: "hostname", expect: "edge-1\n" },
  "limit-cpu": { flags: ["--limit-cpu", "0.5"], cgroup: ["cpu/cpu.cfs_quota_us", "cpu.max"], expect: /^50000\b/ },
  "reserve-cpu": { flags: ["--reserve-cpu", "0.25"], cgroup: ["cpu/cpu.shares", "cpu.weight"], expect: /^(256|10)\n/ },
  "limit-memory": {
    flags: ["--limit-memory", "64m"],
    cgroup: ["memory/memory.limit_in_bytes", "memory.max"],
    expect: "67108864\n",
  },
  "reserve-memory": {
    flags: ["--reserve-memory", "16m"],
    cgroup: ["memory/memory.soft_limit_in_bytes", "memory.low"],
    expect: "16777216\n",
  },
  "limit-pids": { flags: ["--limit-pids", "33"], cgroup: ["pids/pids.max", "pids.max"], expect: "33\n" },
  "a bind mount, read-only": {
    flags: ["--mount", `type=bind,src=${zone},dst=/node,ro`],
    look: "cat /node/shared; touch /node/x 2>&1",
    expect: /^from the node\n.*Read-only file system/,
  },
  "a volume": {
    flags: ["--mount", "src=data,dst=/data"],
    look: "echo kept >/data/file; cat /data/file",
    expect: "kept\n",
  },
  "a tmpfs": {
    flags: ["--mount", "type=tmpfs,dst=/scratch,size=1m,mode=0700"],
    look: "stat -c %a /scratch; df -k /scratch | awk 'NR==2 {print $2}'",
    expect: "700\n1024\n",
  },
  "read-only": { flags: ["--read-only"], look: "touch /x 2>&1", expect: /Read-only file system/ },
  "cap-add": { flags: ["--cap-add", "SYS_NICE"], look: status("CapBnd"), expect: "00000000a88425fb\n" },
  "cap-drop": {
    flags: ["--cap-drop", "ALL", "--cap-add", "CHOWN"],
    look: status("CapEff"),
    expect: "0000000000000001\n",
  },
  sysctl: { flags: ["--sysctl", "net.core.somaxconn=99"], look: "cat /proc/sys/net/core/somaxconn", expect: "99\n" },
  ulimit: { flags: ["--ulimit", "nofile=123:456"], look: limit("Max open files"), expect: "123 456 files\n" },
  device: {
    flags: ["--device", "/dev/null:/dev/void:rw"],
    look: "stat -c %t:%T /dev/void; echo x >/dev/void && echo written",
    expect: "1:3\nwritten\n",
  },
  "add-host": {
    flags: ["--add-host", "db.test:192.0.2.7"],
    look: "grep db.test /etc/hosts",
    expect: /^192\.0\.2\.7\s+db\.test/,
  },
  dns: {
    flags: ["--dns", "192.0.2.53", "--dns-search", "test", "--dns-option", "ndots:3"],
    look: "cat /etc/resolv.conf",
    expect: "nameserver 169.254.1.1\nsearch warren test\noptions ndots:3\n",
  },
  init: {
    flags: ["--init"],
    args: ["sleep", "7654"],
    look: "grep -c '^sleep' /proc/1/cmdline; grep -l '^sleep' /proc/[0-9]*/cmdline | wc -l",
    expect: "0\n1\n",
  },
  tty: { flags: ["--tty"], look: "readlink /proc/1/fd/0", expect: /^\/dev\/(pts\/0|console)/ },
  "no-new-privileges": { flags: ["--no-new-privileges"], look: status("NoNewPrivs"), expect: "1\n" },
  "the defaults are as safe as Docker's": {
    flags: [],
    look: `${status("CapBnd")}; ${status("Seccomp")}; cat /proc/timer_list | wc -c; ls /sys/firmware | wc -l; touch /proc/sys/kernel/x 2>&1 | grep -c 'Read-only\\|Permission\\|No such'`,
    expect: "00000000a80425fb\n2\n0\n0\n1\n",
  },
  "4096 processes are allowed where no limit is asked for": {
    flags: [],
    cgroup: ["pids/pids.max", "pids.max"],
    expect: "4096\n",
  },
};

function expectText(text: string, expected: string | RegExp): void {
  if (typeof expected === "string") expect(text).toBe(expected);
  else expect(text).toMatch(expected);
}

describe("every field arrives", () => {
  let machine: Machine;
  let image: string;

  beforeAll(async () => {
    machine = await Machine.start();
    image = await machine.push("fields/base:1", { config: { Cmd: ["sleep", "1000000"] } });
    for (const [i, { flags, args }] of Object.values(rows).entries()) {
      const rest = args === undefined ? [] : ["--", ...args];
      await machine.ok("service", "create", `f${i}`, "--image", image, "--detach", ...flags, ...rest);
    }
  }, 120_000);
  afterAll(() => machine[Symbol.asyncDispose](), 120_000);

  test.for(Object.entries(rows).map(([title, row], i) => [title, row, i] as const))("%s", async ([, row, i]) => {
    const task = await until(`f${i} runs`, async () => (await machine.running(`f${i}`))[0], 60_000);
    if (row.look !== undefined) {
      // What is looked at may be a refusal, so the exit code is not asked for.
      const { stdout } = await machine.warren("task", "exec", `f${i}.1`, "--", "sh", "-c", row.look);
      expectText(stdout, row.expect);
    }
    if (row.cgroup !== undefined) {
      const [v1, v2] = row.cgroup;
      const text = await readCgroup(task.status?.container?.pid ?? 0, cgroupVersion() === 1 ? v1 : v2);
      expectText(text, row.expect);
    }
  });

  test("an image's health check decides when its task runs, and --no-healthcheck makes none", async () => {
    const Healthcheck = { Test: ["CMD-SHELL", "test -e /node/healthy"], Interval: 1e9, Retries: 1_000 };
    const checked = await machine.push("fields/checked:1", { config: { Cmd: ["sleep", "1000000"], Healthcheck } });
    await machine.ok(
      "service",
      "create",
      "checked",
      "--image",
      checked,
      "--detach",
      "--mount",
      `type=bind,src=${zone},dst=/node`,
    );
    await machine.ok("service", "create", "unchecked", "--image", checked, "--no-healthcheck", "--update-monitor", "0");
    const why = await until(
      "it waits for its image's check",
      async () => {
        const text = await machine.ok("why", "checked");
        return text.includes("not yet healthy: /bin/sh exits with 1") && text;
      },
      30_000,
    );
    expect(why).toContain("runs 0 of 1");
    await writeFile(join(zone, "healthy"), "");
    await until("it runs", async () => (await machine.running("checked"))[0], 30_000);
    await machine.ok("service", "update", "unchecked", "--health-cmd", "test -e /none", "--detach");
    await until(
      "it is checked now",
      async () => (await machine.ok("why", "unchecked")).includes("not yet healthy"),
      30_000,
    );
    await machine.ok("service", "delete", "checked", "unchecked", "--detach");
  });

  test("a named volume is filled from the image at its first use, and what is in it stays", async () => {
    const filled = await machine.push("fields/filled:1", {
      config: { Cmd: ["sleep", "1000000"], StopSignal: "SIGKILL" },
      files: { "data/seed": "from the image" },
    });
    await machine.ok(
      "service",
      "create",
      "filled",
      "--image",
      filled,
      "--mount",
      "src=seeded,dst=/data",
      "--update-monitor",
      "0",
    );
    const look = async (): Promise<string> =>
      (await machine.warren("task", "exec", "filled.1", "--", "sh", "-c", "cat /data/seed; echo mine >/data/seed"))
        .stdout;
    expect(await look()).toBe("from the image");
    await machine.ok("service", "update", "filled", "--force");
    expect(await look()).toBe("mine\n");
  });

  test("labels of service and container are stored, and the container's reach the runtime", async () => {
    await machine.ok(
      "service",
      "create",
      "labels",
      "--update-monitor",
      "0",
      "--image",
      image,
      "--label",
      "tier=front",
      "--container-label",
      "team=edge",
    );
    expect(await machine.ok("service", "list", "--label", "tier=front", "-o", "name")).toBe("labels\n");
    const [task] = await machine.running("labels");
    await using runtime = await machine.bed.open();
    const container = (await runtime.list()).find(({ id }) => id === task?.status?.container?.containerId);
    expect(container?.labels).toMatchObject({ team: "edge" });
  });

  test("the stop signal and its grace are kept", async () => {
    const script = `trap 'echo INT; exit 0' INT; trap '' TERM; echo ready; while :; do sleep 0.1; done`;
    await machine.ok(
      "service",
      "create",
      "stops",
      "--update-monitor",
      "0",
      "--image",
      image,
      "--stop-signal",
      "INT",
      "--stop-grace",
      "20s",
      "--",
      "sh",
      "-c",
      script,
    );
    const following = machine.spawn("service", "logs", "stops", "--follow", "--no-names");
    let seen = "";
    following.stdout?.on("data", (data: Buffer) => (seen += data.toString()));
    await until("it is followed", () => seen.includes("ready"), 20_000);
    const begin = performance.now();
    await machine.ok("service", "scale", "stops=0");
    expect(performance.now() - begin).toBeLessThan(15_000);
    await until("the signal is told", () => seen === "ready\nINT\n", 10_000);
    following.kill("SIGINT");
    await once(following, "close");
  });

  test("a log is rotated by size and number", async () => {
    const script =
      "i=0; while [ $i -lt 3000 ]; do echo line-$i-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; i=$((i+1)); done; sleep 100000";
    await machine.ok(
      "service",
      "create",
      "logs",
      "--update-monitor",
      "0",
      "--image",
      image,
      "--log-max-size",
      "64k",
      "--log-max-files",
      "2",
      "--",
      "sh",
      "-c",
      script,
    );
    const lines = await until("all is written", async () => {
      const text = await machine.ok("service", "logs", "logs", "--no-names");
      return text.includes("line-2999-") && text.trim().split("\n");
    });
    expect(lines.length).toBeGreaterThan(100);
    expect(lines.length).toBeLessThan(2_500);
    expect(lines.map((line) => Number(line.split("-")[1]))).toEqual(lines.map((_, i) => 3_000 - lines.length + i));
  });

  test("a volume outlives its service; a bind path that is missing is told and not made", async () => {
    await machine.ok(
      "service",
      "create",
      "first",
      "--update-monitor",
      "0",
      "--image",
      image,
      "--stop-signal",
      "KILL",
      "--mount",
      "src=kept,dst=/data",
      "--",
      "sh",
      "-c",
      "echo here >/data/file; sleep 100000",
    );
    await machine.ok("service", "delete", "first", "--timeout", "60s");
    expect(await readFile(join(machine.dataDir, "worker/volumes/kept/file"), "utf8")).toBe("here\n");
    await machine.ok(
      "service",
      "create",
      "second",
      "--image",
      image,
      "--detach",
      "--mount",
      "type=bind,src=/no/such/path,dst=/x",
    );
    await until(
      "it is told",
      async () => (await machine.ok("service", "tasks", "second")).includes("/no/such/path"),
      20_000,
    );
    expect(await machine.ok("why", "second")).toContain("/no/such/path");
  });
});
