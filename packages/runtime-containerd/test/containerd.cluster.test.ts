import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { ContainerEvent, ContainerSpec, ContainerStatus, ExitStatus } from "@warren/runtime";
import { until } from "@warren/std/testing";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { connectContainerd, type ContainerdRuntimePart } from "../src/index.ts";
import {
  pushImage,
  startPrivateContainerd,
  startRegistry,
  type PrivateContainerd,
  type TestRegistry,
} from "../src/testing/index.ts";

let containerd: PrivateContainerd;
let registry: TestRegistry;
let runtime: ContainerdRuntimePart;
let image: string;
let out: string;
const open = (): Promise<ContainerdRuntimePart> =>
  connectContainerd({}, { address: containerd.address, runDir: join(containerd.directory, "run") });

beforeAll(async () => {
  [containerd, registry] = await Promise.all([startPrivateContainerd(), startRegistry()]);
  runtime = await open();
  image = await pushImage(registry, "box:1", {
    config: { Env: ["FROM_IMAGE=yes"], StopSignal: "SIGUSR1", Entrypoint: ["/bin/sh", "-c"] },
  });
  await runtime.pull(image);
  out = join(containerd.directory, "out");
  mkdirSync(out, { mode: 0o777 });
  execFileSync("chmod", ["777", out]);
});
afterEach(async () => {
  for (const { id } of await runtime.list()) await runtime.remove(id);
});
afterAll(async () => {
  await runtime?.close();
  await registry?.[Symbol.asyncDispose]();
  await containerd?.[Symbol.asyncDispose]();
});

const result = "/out/result";
const outMount = (): NonNullable<ContainerSpec["mounts"]>[number] => ({ kind: "bind", source: out, target: "/out" });

/** Runs a shell script to its end in a new container. */
async function script(id: string, text: string, more: Partial<ContainerSpec> = {}): Promise<ExitStatus> {
  rmSync(join(out, "result"), { force: true });
  await runtime.create({ id, image, args: [text], ...more, mounts: [outMount(), ...(more.mounts ?? [])] });
  await runtime.start(id);
  return runtime.wait(id);
}

const lines: readonly [field: keyof ContainerSpec, spec: Partial<ContainerSpec>, read: string, expected: string][] = [
  ["env", { env: { A: "b=c" } }, "echo $A $FROM_IMAGE", "b=c yes"],
  ["workingDir", { workingDir: "/tmp" }, "pwd", "/tmp"],
  ["user", { user: "web" }, "id -u; id -g; id -G", "1000\n1001\n1001 50"],
  ["groups", { user: "7:8", groups: ["staff", "99"] }, "id -u; id -G", "7\n8 50 99"],
  ["hostname", { hostname: "burrow" }, "hostname; cat /etc/hostname", "burrow\nburrow"],
  [
    "resources",
    { resources: { memoryLimitBytes: 64 << 20 } },
    "cat /sys/fs/cgroup/memory/memory.limit_in_bytes",
    String(64 << 20),
  ],
  [
    "resources",
    { resources: { memoryReservationBytes: 32 << 20 } },
    "cat /sys/fs/cgroup/memory/memory.soft_limit_in_bytes",
    String(32 << 20),
  ],
  ["resources", { resources: { cpuLimit: 0.5 } }, "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000"],
  ["resources", { resources: { cpuReservation: 0.25 } }, "cat /sys/fs/cgroup/cpu/cpu.shares", "256"],
  ["resources", { resources: { pidsLimit: 33 } }, "cat /sys/fs/cgroup/pids/pids.max", "33"],
  [
    "mounts",
    { mounts: [{ kind: "tmpfs", target: "/scratch", sizeBytes: 1 << 20 }] },
    "grep -c '/scratch tmpfs.*size=1024k' /proc/mounts",
    "1",
  ],
  ["readOnlyRoot", { readOnlyRoot: true }, "touch /x 2>/dev/null || echo refused", "refused"],
  [
    "capabilityAdd",
    { capabilityDrop: ["ALL"], capabilityAdd: ["CHOWN", "CAP_KILL"] },
    "grep CapEff /proc/self/status | cut -f2",
    "0000000000000021",
  ],
  ["capabilityDrop", { capabilityDrop: ["net_raw"] }, "grep CapBnd /proc/self/status | cut -f2", "00000000a80405fb"],
  [
    "sysctls",
    { sysctls: { "net.ipv4.ip_unprivileged_port_start": "80" } },
    "cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
    "80",
  ],
  ["ulimits", { ulimits: [{ name: "nofile", soft: 100, hard: 200 }] }, "ulimit -n; ulimit -Hn", "100\n200"],
  [
    "devices",
    { devices: [{ source: "/dev/null", target: "/dev/hole" }] },
    "echo x > /dev/hole && test -c /dev/hole && echo device",
    "device",
  ],
  ["extraHosts", { extraHosts: { friend: "10.1.2.3" } }, "grep friend /etc/hosts | cut -f1", "10.1.2.3"],
  [
    "dns",
    { dns: { servers: ["169.254.1.1"], search: ["warren"], options: ["ndots:1"] } },
    "cat /etc/resolv.conf",
    "nameserver 169.254.1.1\nsearch warren\noptions ndots:1",
  ],
  ["noNewPrivileges", { noNewPrivileges: true }, "grep NoNewPrivs /proc/self/status | cut -f2", "1"],
  ["command", { command: ["/bin/sh"], args: ["-c", `echo replaced > ${result}`] }, "", "replaced"],
];
test.each(lines)("%s arrives: %j", async (field, spec, read, expected) => {
  expect(await script(`f-${field.toLowerCase()}`, `{ ${read || "true"}; } > ${result}`, spec)).toMatchObject({
    code: 0,
  });
  expect(readFileSync(join(out, "result"), "utf8").trim()).toBe(expected);
});

test("a container is as confined as Docker's: seccomp, masked paths, no mounts, no kernel switches", async () => {
  const probes =
    "grep Seccomp: /proc/self/status | cut -f2; wc -c < /proc/interrupts; mount -t tmpfs x /tmp 2>&1 | grep -c denied; touch /proc/sys/kernel/x 2>/dev/null || echo ro";
  await script("confined", `{ ${probes}; } > ${result} 2>&1`);
  const [seccomp, interrupts, mount, sys] = readFileSync(join(out, "result"), "utf8").trim().split("\n");
  expect({ seccomp, interrupts, sys }).toEqual({ seccomp: "2", interrupts: "0", sys: "ro" });
  expect(Number(mount)).toBeGreaterThan(0);
});

test("the network namespace is there before the process runs, with loopback up", async () => {
  const { netnsPath } = await runtime.create({ id: "net", image, args: ["sleep 60"] });
  execFileSync("nsenter", [`--net=${netnsPath}`, "ip", "link", "add", "wired", "type", "veth"]);
  await runtime.start("net");
  const [status] = (await runtime.list()).filter(({ id }) => id === "net");
  expect(status?.state.kind).toBe("running");
  const pid = status?.state.kind === "running" ? status.state.pid : 0;
  expect(readFileSync(`/proc/${pid}/net/dev`, "utf8")).toContain("wired");
});

test("an exit is told with its code, in events, wait and list, to a runtime that connected later too", async () => {
  const abort = new AbortController();
  const events: ContainerEvent[] = [];
  const reading = (async () => {
    for await (const event of runtime.events(abort.signal)) events.push(event);
  })();
  await until("the stream begins", () => events.length > 0);
  expect(await script("seven", "exit 7", { labels: { task: "t1" } })).toMatchObject({ code: 7, oomKilled: false });
  await until("the exit is told", () =>
    events.some((e) => e.kind === "exited" && e.id === "seven" && e.exit.code === 7),
  );
  abort.abort();
  await reading;
  await using later = await open();
  const found: ContainerStatus | undefined = (await later.list()).find(({ id }) => id === "seven");
  expect(found).toMatchObject({ labels: { task: "t1" }, state: { kind: "exited", exit: { code: 7 } } });
});

test("kill without a signal sends the image's stop signal", async () => {
  const trap = `trap 'exit 3' USR1; touch /out/ready; while :; do sleep 0.05; done`;
  await runtime.create({ id: "stop", image, args: [trap], mounts: [outMount()] });
  await runtime.start("stop");
  await until("it traps", () => readdirSync(out).includes("ready"));
  await runtime.kill("stop");
  expect(await runtime.wait("stop")).toMatchObject({ code: 3 });
});

test("remove ends what runs and leaves no mount, shim or file", async () => {
  await runtime.create({ id: "gone", image, args: ["sleep 600"] });
  await runtime.start("gone");
  await runtime.remove("gone");
  await runtime.remove("gone");
  expect(await runtime.list()).toEqual([]);
  expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(containerd.directory);
  expect(readdirSync(join(containerd.directory, "run/containers"))).toEqual([]);
});

test("a spec that can't be done is refused by field and leaves nothing", async () => {
  const bad: [Partial<ContainerSpec>, string][] = [
    [{ user: "nobody-here" }, "user"],
    [{ capabilityAdd: ["FLY"] }, "capabilityAdd"],
    [{ sysctls: { "vm.swappiness": "1" } }, "sysctls"],
    [{ devices: [{ source: "/etc/hosts" }] }, "devices"],
    [{ tty: true }, "tty"],
  ];
  for (const [spec, field] of bad)
    await expect(runtime.create({ id: "bad", image, ...spec })).rejects.toMatchObject({
      failure: { code: "RUNTIME_SPEC_INVALID", field },
    });
  expect(await runtime.list()).toEqual([]);
  expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(containerd.directory);
});

test("zstd layers run; a missing image, a missing platform and an unreachable registry are told apart", async () => {
  const zstd = await pushImage(registry, "zstd:1", {
    compression: "zstd",
    files: { hello: "from zstd" },
    config: { Entrypoint: ["/bin/sh", "-c"] },
  });
  await runtime.pull(zstd);
  await script("zstd", `cat /hello > ${result}`, { image: zstd });
  expect(readFileSync(join(out, "result"), "utf8")).toBe("from zstd");
  await expect(runtime.pull(`${registry.host}/nothing:1`)).rejects.toMatchObject({ code: "RUNTIME_IMAGE_NOT_FOUND" });
  const foreign = await pushImage(registry, "foreign:1", { architecture: "riscv64" });
  await expect(runtime.pull(foreign)).rejects.toMatchObject({ code: "RUNTIME_PLATFORM_MISSING" });
  await expect(runtime.pull("127.0.0.1:1/box:1")).rejects.toMatchObject({ code: "RUNTIME_REGISTRY_UNREACHABLE" });
});

test("an image that is here is used when its registry is gone", async () => {
  const brief = await startRegistry();
  const ref = await pushImage(brief, "kept:1");
  const pulled = await runtime.pull(ref);
  await brief[Symbol.asyncDispose]();
  expect(await runtime.pull(ref)).toEqual(pulled);
});

test("a layer that is not what its digest says is refused and leaves nothing that a later pull builds on", async () => {
  const ref = await pushImage(registry, "altered:1", { files: { once: "upon a time" } });
  const altering: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    if (!addressOf(input).includes("/blobs/")) return response;
    const bytes = new Uint8Array(await response.arrayBuffer());
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    return new Response(bytes, { status: response.status });
  };
  const options = { address: containerd.address, runDir: join(containerd.directory, "run") };
  await using deceived = await connectContainerd({ fetch: altering }, options);
  await expect(deceived.pull(ref)).rejects.toMatchObject({ code: "RUNTIME_DIGEST_MISMATCH", retryable: true });
  expect(await runtime.pull(ref)).toMatchObject({ ref });
});

test("a layer that broke off goes on from where it stopped", async () => {
  const ref = await pushImage(registry, "broken:1", {
    files: { tale: Array.from({ length: 20_000 }, () => Math.random()).join() },
  });
  const cutting: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    const bytes = new Uint8Array(await response.clone().arrayBuffer());
    return addressOf(input).includes("/blobs/") && bytes.length > 50_000
      ? new Response(cut(bytes.subarray(0, 50_000)))
      : response;
  };
  const options = { address: containerd.address, runDir: join(containerd.directory, "run") };
  await using unlucky = await connectContainerd({ fetch: cutting }, options);
  await expect(unlucky.pull(ref)).rejects.toMatchObject({ code: "RUNTIME_REGISTRY_UNREACHABLE" });
  const ranges: (string | null)[] = [];
  const watching: typeof fetch = (input, init) => {
    ranges.push(new Headers(init?.headers).get("range"));
    return fetch(input, init);
  };
  await using lucky = await connectContainerd({ fetch: watching }, options);
  expect(await lucky.pull(ref)).toMatchObject({ ref });
  expect(ranges).toContain("bytes=50000-");
});

/** A body that ends as a lost connection does. */
function cut(bytes: Uint8Array): ReadableStream<Uint8Array> {
  let sent = false;
  return new ReadableStream({
    pull(controller) {
      if (sent) controller.error(new Error("connection lost"));
      else controller.enqueue(bytes);
      sent = true;
    },
  });
}

function addressOf(input: Parameters<typeof fetch>[0]): string {
  return input instanceof Request ? input.url : input.toString();
}
