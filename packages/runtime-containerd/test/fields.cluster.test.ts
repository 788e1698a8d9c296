import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ContainerSpec, Runtime } from "@warren/runtime";
import { until } from "@warren/std/testing";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { startRuntimeBed, type RuntimeBed } from "../src/testing/index.ts";
import { linesOf, script, textOf } from "./bed.ts";

let bed: RuntimeBed;
let runtime: Runtime;
let image: string;
let shared: string;

beforeAll(async () => {
  bed = await startRuntimeBed();
  runtime = await bed.open();
  image = await bed.push("box:1", {
    config: { Env: ["FROM_IMAGE=yes"], StopSignal: "SIGUSR1", Entrypoint: ["/bin/sh", "-c"], Cmd: ["echo image"] },
    files: { "srv/here": "in the image", "etc/empty/x": "" },
    links: { link: "/etc/empty" },
  });
  await runtime.pull(image);
  shared = join(bed.containerd.directory, "shared");
  mkdirSync(shared);
  chmodSync(shared, 0o777);
  writeFileSync(join(shared, "note"), "from the machine");
});
afterEach(async () => {
  for (const { id } of await runtime.list()) await runtime.remove(id);
});
afterAll(async () => {
  await runtime?.close();
  await bed?.[Symbol.asyncDispose]();
});

const sharedMount = (readOnly: boolean): ContainerSpec["mounts"] => [
  { kind: "bind", source: shared, target: "/shared", readOnly },
];

type Row = readonly [field: string, spec: () => Partial<ContainerSpec>, read: string, expected: string];

/** Each field, set, and what a shell in the container then reads. */
const rows: readonly Row[] = [
  ["env", () => ({ env: { A: "b=c d" } }), `echo "$A $FROM_IMAGE"`, "b=c d yes"],
  ["env, over the image's", () => ({ env: { FROM_IMAGE: "no" } }), "echo $FROM_IMAGE", "no"],
  ["workingDir", () => ({ workingDir: "/tmp" }), "pwd", "/tmp"],
  ["user, by name", () => ({ user: "web" }), "id -u; id -g; id -G; echo $HOME", "1000\n1001\n1001 50\n/"],
  ["user, by default", () => ({}), "id -u; id -G", "0\n0"],
  ["user, by number", () => ({ user: "7:8" }), "id -u; id -g; id -G", "7\n8\n8"],
  ["groups", () => ({ user: "7:8", groups: ["staff", "99"] }), "id -G", "8 50 99"],
  [
    "the main group is kept",
    () => ({ user: "7:8", groups: ["99"] }),
    "echo $(grep ^Groups: /proc/self/status)",
    "Groups: 8 99",
  ],
  [
    "hostname",
    () => ({ hostname: "burrow" }),
    "hostname; cat /etc/hostname; grep -c burrow /etc/hosts",
    "burrow\nburrow\n1",
  ],
  ["hostname, by default", () => ({ id: "a-rather-long-name" }), "hostname", "a-rather-lon"],
  [
    "bind mount",
    () => ({ mounts: sharedMount(false) }),
    "cat /shared/note; echo x > /shared/w && echo wrote",
    "from the machinewrote",
  ],
  [
    "bind mount, read only",
    () => ({ mounts: sharedMount(true) }),
    "echo x 2>/dev/null > /shared/w2 || echo refused",
    "refused",
  ],
  [
    "tmpfs mount",
    () => ({ mounts: [{ kind: "tmpfs", target: "/scratch", sizeBytes: 1 << 20, mode: 0o700 }] }),
    "grep -c '/scratch tmpfs.*size=1024k' /proc/mounts; stat -c %a /scratch; head -c 2000000 /dev/zero 2>/dev/null > /scratch/x || echo full",
    "1\n700\nfull",
  ],
  [
    "tmpfs mounts on directories of the image",
    () => ({
      mounts: [
        { kind: "tmpfs", target: "/tmp", mode: 0o1770 },
        { kind: "tmpfs", target: "/srv" },
        { kind: "tmpfs", target: "/link", mode: 0o711 },
      ],
    }),
    "stat -c %a /tmp /srv /etc/empty",
    "1770\n1777\n711",
  ],
  [
    "readOnlyRoot",
    () => ({ readOnlyRoot: true }),
    "touch /x 2>/dev/null || echo refused; touch /dev/shm/x && echo shm",
    "refused\nshm",
  ],
  [
    "capabilityAdd after capabilityDrop of all",
    () => ({ capabilityDrop: ["ALL"], capabilityAdd: ["CHOWN", "CAP_KILL"] }),
    "grep -E 'Cap(Prm|Eff|Bnd)' /proc/self/status | cut -f2 | sort -u",
    "0000000000000021",
  ],
  [
    "capabilityDrop",
    () => ({ capabilityDrop: ["net_raw"] }),
    "grep CapBnd /proc/self/status | cut -f2",
    "00000000a80405fb",
  ],
  [
    "capabilities of a user who is not root",
    () => ({ user: "7" }),
    "grep CapEff /proc/self/status | cut -f2",
    "0000000000000000",
  ],
  [
    "sysctls",
    () => ({ sysctls: { "net.ipv4.ip_unprivileged_port_start": "80", "kernel.msgmax": "9999" } }),
    "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax",
    "80\n9999",
  ],
  [
    "ulimits",
    () => ({
      ulimits: [
        { name: "nofile", soft: 100, hard: 200 },
        { name: "core", soft: -1, hard: -1 },
      ],
    }),
    "ulimit -n; ulimit -Hn; ulimit -c",
    "100\n200\nunlimited",
  ],
  ["oom score", () => ({}), "cat /proc/self/oom_score_adj", "0"],
  [
    "sysctls, by default",
    () => ({}),
    "cat /proc/sys/net/ipv4/ip_unprivileged_port_start; tr '\\t' ' ' < /proc/sys/net/ipv4/ping_group_range",
    "0\n0 2147483647",
  ],
  [
    "a port below 1024, for a user who is not root",
    () => ({ user: "web" }),
    "nc -l -p 80 & sleep 0.2; netstat -ltn | grep -c ':80 '",
    "1",
  ],
  [
    "devices",
    () => ({ devices: [{ source: "/dev/null", target: "/dev/hole", permissions: "rw" }] }),
    "echo x > /dev/hole && test -c /dev/hole && echo device",
    "device",
  ],
  ["extraHosts", () => ({ extraHosts: { friend: "10.1.2.3" } }), "grep friend /etc/hosts", "10.1.2.3\tfriend"],
  [
    "dns",
    () => ({ dns: { servers: ["169.254.1.1", "10.0.0.1"], search: ["warren"], options: ["ndots:1"] } }),
    "cat /etc/resolv.conf",
    "nameserver 169.254.1.1\nnameserver 10.0.0.1\nsearch warren\noptions ndots:1",
  ],
  ["noNewPrivileges", () => ({ noNewPrivileges: true }), "grep NoNewPrivs /proc/self/status | cut -f2", "1"],
  ["noNewPrivileges, by default", () => ({}), "grep NoNewPrivs /proc/self/status | cut -f2", "0"],
  ["command", () => ({ command: ["/bin/echo", "replaced"] }), "", "replaced"],
  ["command and args", () => ({ command: ["/bin/echo"], args: ["a b", "c"] }), "", "a b c"],
  [
    "args alone, to the image's entrypoint",
    () => ({ command: undefined, args: ["echo from args"] }) as never,
    "",
    "from args",
  ],
  ["neither: what the image runs", () => ({ command: undefined, args: undefined }) as never, "", "image"],
  [
    "init",
    () => ({ init: true }),
    "cat /proc/1/comm; cat /proc/1/cmdline | tr '\\0' ' ' | cut -d' ' -f1-3",
    "warren-init\n/dev/warren-init init --",
  ],
  ["init, by default", () => ({}), "echo $$", "1"],
  ["tty", () => ({ tty: true }), "tty; stty size; echo $TERM", "/dev/pts/0\r\n24 80\r\nxterm\r"],
  ["tty, by default", () => ({}), "tty", "not a tty"],
  [
    "tty under init",
    () => ({ tty: true, init: true }),
    "tty; sh -c 'tty >/dev/null && echo front'",
    "/dev/pts/0\r\nfront\r",
  ],
];
test.each(rows)("%s", async (field, spec, read, expected) => {
  const base: ContainerSpec = { id: `f-${rows.findIndex(([name]) => name === field)}`, image };
  const shell = read === "" ? {} : { command: ["/bin/sh", "-c"], args: [read] };
  const merged = Object.fromEntries(
    Object.entries({ ...base, ...shell, ...spec() }).filter(([, v]) => v !== undefined),
  );
  const given = merged as unknown as ContainerSpec;
  await runtime.create(given);
  await runtime.start(given.id);
  await runtime.wait(given.id);
  expect(textOf(await linesOf(runtime.logs(given.id))).trimEnd()).toBe(expected.trimEnd());
});

type CgroupRow = readonly [
  field: string,
  resources: NonNullable<ContainerSpec["resources"]>,
  v1: readonly [file: string, content: string],
  v2: readonly [file: string, content: string],
];

/** What is read from the container's cgroup, by the kernel's version of them. */
const cgroupRows: readonly CgroupRow[] = [
  [
    "memoryLimitBytes",
    { memoryLimitBytes: 64 << 20 },
    ["memory/memory.limit_in_bytes", "67108864"],
    ["memory.max", "67108864"],
  ],
  [
    "memoryLimitBytes, swap",
    { memoryLimitBytes: 64 << 20 },
    ["memory/memory.memsw.limit_in_bytes", "67108864"],
    ["memory.swap.max", "0"],
  ],
  [
    "memoryReservationBytes",
    { memoryReservationBytes: 32 << 20 },
    ["memory/memory.soft_limit_in_bytes", "33554432"],
    ["memory.low", "33554432"],
  ],
  ["cpuLimit", { cpuLimit: 0.5 }, ["cpu/cpu.cfs_quota_us", "50000"], ["cpu.max", "50000 100000"]],
  ["cpuReservation", { cpuReservation: 0.25 }, ["cpu/cpu.shares", "256"], ["cpu.weight", "25"]],
  ["cpuReservation, by default", {}, ["cpu/cpu.shares", "2"], ["cpu.weight", "1"]],
  ["memoryReservationBytes, by default", {}, ["memory/memory.soft_limit_in_bytes", "0"], ["memory.low", "0"]],
  ["pidsLimit", { pidsLimit: 33 }, ["pids/pids.max", "33"], ["pids.max", "33"]],
  ["pidsLimit, by default", {}, ["pids/pids.max", "4096"], ["pids.max", "4096"]],
  ["pidsLimit, none", { pidsLimit: -1 }, ["pids/pids.max", "max"], ["pids.max", "max"]],
];
test.each(cgroupRows)("resources.%s", async (field, resources, v1, v2) => {
  const id = `r-${field.replaceAll(/\W/g, "").toLowerCase()}`;
  await runtime.create({ id, image, args: ["sleep 60"], resources });
  await runtime.start(id);
  const { cgroupVersion } = await runtime.info();
  const [controller, file] = cgroupVersion === 2 ? ["", v2[0]] : (v1[0].split("/") as [string, string]);
  const path = join("/sys/fs/cgroup", controller, bed.options.cgroupParent, id, file);
  expect(readFileSync(path, "utf8").trim()).toBe(cgroupVersion === 2 ? v2[1] : v1[1]);
});

test("labels and the image's full name are listed, and none of our own", async () => {
  await runtime.create({ id: "labels", image, labels: { "a/b": "c" } });
  expect(await runtime.list()).toMatchObject([{ id: "labels", image, labels: { "a/b": "c" } }]);
  expect(Object.keys((await runtime.list())[0]?.labels ?? {})).toEqual(["a/b"]);
});

test("the stop signal is the spec's, else the image's", async () => {
  const trap = "trap 'exit 3' USR1; trap 'exit 4' USR2; echo ready; while :; do sleep 0.05; done";
  for (const [id, stopSignal, code] of [
    ["stop-image", undefined, 3],
    ["stop-spec", "SIGUSR2", 4],
  ] as const) {
    await runtime.create({ id, image, args: [trap], ...(stopSignal && { stopSignal }) });
    await runtime.start(id);
    for await (const { line } of runtime.logs(id, { follow: true })) if (Buffer.from(line).includes("ready")) break;
    await runtime.kill(id);
    expect(await runtime.wait(id)).toMatchObject({ code });
  }
});

test("init reaps orphans, passes a signal on, and ends as its command did", async () => {
  const text = "trap 'exit 5' TERM; (sh -c 'sleep 0.01 &' &); sleep 0.2; echo ready; while :; do sleep 0.05; done";
  await runtime.create({ id: "reaper", image, args: [text], init: true, stopSignal: "TERM" });
  await runtime.start("reaper");
  for await (const { line } of runtime.logs("reaper", { follow: true })) if (Buffer.from(line).includes("ready")) break;
  const process = await runtime.exec("reaper", { args: ["/bin/sh", "-c", "! ps -o stat | grep -q Z"] });
  expect((await process.exit).code).toBe(0);
  await runtime.kill("reaper");
  expect(await runtime.wait("reaper")).toMatchObject({ code: 5 });
  const { exit } = await script(runtime, "", { id: "absent", image, command: ["/no/such"], args: [], init: true });
  expect(exit.code).toBe(127);
  const killed = await script(runtime, "kill -9 $$", { id: "killed", image, init: true });
  expect(killed.exit).toMatchObject({ code: 137, oomKilled: false });
});

test("a container is as confined as Docker's", async () => {
  const probes = [
    "grep Seccomp: /proc/self/status | cut -f2",
    "wc -c < /proc/interrupts",
    "ls /sys/firmware | wc -l",
    "touch /proc/sys/kernel/x 2>/dev/null || echo ro",
    "touch /sys/x 2>/dev/null || echo ro",
    "unshare -m true 2>/dev/null || echo no-namespace",
    "mount -t tmpfs x /tmp 2>/dev/null || echo no-mount",
    "grep CapEff /proc/self/status | cut -f2",
    "mknod /tmp/disk b 8 0 && head -c1 /tmp/disk 2>/dev/null || echo no-disk",
    "dmesg 2>/dev/null >&2 || echo no-dmesg",
    "cat /proc/1/cgroup >/dev/null; ls /proc | grep -c '^[0-9]'",
  ];
  const { output } = await script(runtime, probes.join("\n"), { id: "confined", image });
  expect(output.trim().split("\n")).toEqual([
    "2",
    "0",
    "0",
    "ro",
    "ro",
    "no-namespace",
    "no-mount",
    "00000000a80425fb",
    "no-disk",
    "no-dmesg",
    expect.stringMatching(/^[2-4]$/),
  ]);
});

test("the network namespace is there before the process runs, with loopback up, and after its end", async () => {
  const { netnsPath } = await runtime.create({ id: "net", image, args: ["ip link show wired && ping -c1 127.0.0.1"] });
  execFileSync("nsenter", [`--net=${netnsPath}`, "ip", "link", "add", "wired", "type", "veth"]);
  await runtime.start("net");
  expect(await runtime.wait("net")).toMatchObject({ code: 0 });
  expect(execFileSync("nsenter", [`--net=${netnsPath}`, "ip", "link"]).toString()).toContain("wired");
  await runtime.remove("net");
  expect(existsSync(netnsPath)).toBe(false);
});

test("a spec that can't be done is refused by field and leaves nothing", async () => {
  const bad: [Partial<ContainerSpec>, string][] = [
    [{ user: "nobody-here" }, "user"],
    [{ groups: ["nobody-here"] }, "groups"],
    [{ capabilityAdd: ["FLY"] }, "capabilityAdd"],
    [{ sysctls: { "vm.swappiness": "1" } }, "sysctls"],
    [{ devices: [{ source: "/etc/hosts" }] }, "devices"],
    [{ mounts: [{ kind: "bind", source: "/no/such", target: "/x" }] }, "mounts"],
  ];
  for (const [spec, field] of bad)
    await expect(runtime.create({ id: "bad", image, ...spec })).rejects.toMatchObject({
      failure: { code: "RUNTIME_SPEC_INVALID", field },
    });
  expect(await runtime.list()).toEqual([]);
  expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(bed.containerd.directory);
});

test("a command that isn't there is told at the start, by field, and the container is as it was", async () => {
  await runtime.create({ id: "typo", image, command: ["/bin/no-such"] });
  await expect(runtime.start("typo")).rejects.toMatchObject({
    failure: { code: "RUNTIME_SPEC_INVALID", field: "command" },
  });
  expect(await runtime.list()).toMatchObject([{ id: "typo", state: { kind: "created" } }]);
});

test("a container opens no socket of the kernel's cryptography", async () => {
  // The machine's perl, since busybox opens no such socket.
  const machine = ["/usr", "/lib", "/lib64"].map((target) => ({
    kind: "bind" as const,
    source: target,
    target,
    readOnly: true,
  }));
  const text = "for my $f (2, 10, 38, 40) { print socket(my $s, $f, $f == 38 ? 5 : 1, 0) ? 'opens ' : 'refused ' }";
  const spec = { id: "alg", image, command: ["/usr/bin/perl", "-e", text], args: [], mounts: machine };
  expect((await script(runtime, "", spec)).output).toBe("opens opens refused refused ");
});

test("remove leaves no mount, shim, logger or file", async () => {
  const { options, containerd } = bed;
  await runtime.create({ id: "gone", image, args: ["sleep 600"], tty: true });
  await runtime.start("gone");
  await runtime.remove("gone");
  expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(containerd.directory);
  for (const path of [`${options.runDir}/containers/gone`, `${options.dataDir}/logs/gone`])
    expect(existsSync(path)).toBe(false);
  await until("shim and logger have gone", () => {
    const processes = execFileSync("ps", ["-eo", "args"]).toString();
    return !processes.includes("-id gone") && !processes.includes(`${options.dataDir}/logs/gone`);
  });
});
