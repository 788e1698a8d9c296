import { RuntimeError, emptyImageConfig, type ContainerSpec, type ImageConfig } from "@warren/runtime";
import { expect, test } from "vitest";
import { capabilitiesOf } from "../src/capabilities.ts";
import { upstream } from "../src/docker-defaults.ts";
import { KeyedQueue } from "../src/keyed-queue.ts";
import { execProcess, ociSpec } from "../src/oci-spec.ts";
import { processUser, readUserTables, type UserTables } from "../src/process-user.ts";
import { seccompProfile } from "../src/seccomp.ts";

const image: ImageConfig = {
  ...emptyImageConfig,
  entrypoint: ["/app"],
  env: ["A=image", "PATH=/bin"],
  workingDir: "srv",
};

interface Spec {
  readonly process: {
    readonly args: string[];
    readonly env: string[];
    readonly cwd: string;
    readonly terminal: boolean;
    readonly capabilities: { readonly bounding: string[]; readonly effective: string[] };
    readonly oomScoreAdj: number;
    readonly rlimits: readonly { readonly type: string; readonly soft: number; readonly hard: number }[];
  };
  readonly hooks?: object;
  readonly mounts: readonly { readonly destination: string; readonly options: readonly string[] }[];
  readonly linux: {
    readonly namespaces: readonly { readonly type: string; readonly path?: string }[];
    readonly resources: {
      readonly memory: object;
      readonly cpu: object;
      readonly pids?: object;
      readonly unified?: object;
    };
    readonly sysctl: Readonly<Record<string, string>>;
    readonly maskedPaths: readonly string[];
  };
}

async function specOf(
  spec: Partial<ContainerSpec>,
  version: 1 | 2 = 2,
  controllers: readonly string[] = ["cpu", "memory", "pids"],
  ignoresTmpfsModes: boolean = false,
): Promise<{ spec: Spec; text: string }> {
  const made = await ociSpec({ id: "web-1", image: "box", ...spec }, image, {
    architecture: "amd64",
    netnsPath: "/run/netns",
    cgroupsPath: "/warren/web-1",
    cgroups: { version, limitsSwap: version === 2, controllers: new Set(controllers) },
    initProgram: "/opt/init",
    ignoresTmpfsModes,
    user: { uid: 0, gid: 0, groups: [] },
    kernel: { sysctls: new Set(["net.ipv4.ip_unprivileged_port_start"]), maskedPaths: ["/sys/hot"] },
    files: { "/etc/hosts": "/h", "/etc/hostname": "/n", "/etc/resolv.conf": "/r" },
  });
  const text = JSON.stringify(made);
  return { spec: JSON.parse(text) as Spec, text };
}

test("what a spec leaves out comes from the image, then from Docker's defaults", async () => {
  const { spec } = await specOf({ env: { B: "ours" } });
  expect(spec.process.args).toEqual(["/app"]);
  expect(spec.process.env).toEqual(["PATH=/bin", "HOSTNAME=web-1", "A=image", "B=ours"]);
  expect(spec.process.cwd).toBe("/srv");
  expect(spec.process.capabilities.bounding).toHaveLength(14);
  expect(spec.linux.maskedPaths).toContain("/proc/kcore");
  expect(spec.linux.namespaces).toEqual(
    expect.arrayContaining([{ type: "network", path: "/run/netns" }, { type: "cgroup" }]),
  );
  expect((await specOf({}, 1)).spec.linux.namespaces).not.toContainEqual({ type: "cgroup" });
});

test("limits reach the spec in the kernel's terms, and no limit is the kernel's largest number", async () => {
  const { spec, text } = await specOf({
    ulimits: [{ name: "core", soft: 0, hard: -1 }],
    resources: { cpuLimit: 1.5, cpuReservation: 0.5, memoryLimitBytes: 1 << 20 },
  });
  expect(text).toContain('{"type":"RLIMIT_CORE","soft":0,"hard":18446744073709551615}');
  expect(spec.linux.resources).toMatchObject({
    cpu: { period: 100_000, quota: 150_000 },
    memory: { limit: 1 << 20, swap: 1 << 20 },
  });
  expect((await specOf({ resources: { memoryLimitBytes: 1 << 20 } }, 1)).spec.linux.resources.memory).toEqual({
    limit: 1 << 20,
    reservation: 1,
  });
});

test("what a container reserves is its weight, and one that reserves nothing has the least", async () => {
  const weights = async (version: 1 | 2, cpuReservation?: number): Promise<unknown> => {
    const resources = cpuReservation === undefined ? {} : { cpuReservation };
    const { cpu, unified } = (await specOf({ resources }, version)).spec.linux.resources;
    return version === 1 ? cpu : unified;
  };
  expect(await weights(1)).toEqual({ shares: 2 });
  expect(await weights(1, 0.5)).toEqual({ shares: 512 });
  expect(await weights(1, 0.0001)).toEqual({ shares: 2 });
  expect(await weights(1, 1_000)).toEqual({ shares: 262_144 });
  expect(await weights(2)).toEqual({ "cpu.weight": "1" });
  expect(await weights(2, 0.5)).toEqual({ "cpu.weight": "50" });
  expect(await weights(2, 8)).toEqual({ "cpu.weight": "800" });
  expect(await weights(2, 1_000)).toEqual({ "cpu.weight": "10000" });
  const memory = async (version: 1 | 2): Promise<object> => (await specOf({}, version)).spec.linux.resources.memory;
  expect([await memory(1), await memory(2)]).toEqual([{ reservation: 1 }, {}]);
});

test("what nobody asked for is not asked of a kernel that lacks it, as a small board's", async () => {
  for (const version of [1, 2] as const) {
    const bare = (await specOf({}, version, [])).spec.linux.resources;
    expect(bare).toMatchObject({ cpu: {}, memory: {} });
    expect([bare.pids, bare.unified, Object.keys(bare.cpu), Object.keys(bare.memory)]).toEqual([
      undefined,
      undefined,
      [],
      [],
    ]);
  }
  const asked = await specOf({ resources: { pidsLimit: 5, cpuReservation: 1 } }, 1, []);
  expect(asked.spec.linux.resources).toMatchObject({ pids: { limit: 5 }, cpu: { shares: 1_024 } });
});

test("Docker's defaults hold where the spec says nothing else, and its lists are at most a year old", async () => {
  const { spec } = await specOf({});
  expect(spec.linux.sysctl).toEqual({ "net.ipv4.ip_unprivileged_port_start": "0" });
  expect(spec.linux.maskedPaths).toContain("/sys/hot");
  expect(spec.process.oomScoreAdj).toBe(0);
  expect(spec.process.rlimits).toEqual([]);
  expect(spec.linux.resources.pids).toEqual({ limit: 4_096 });
  const other = await specOf({
    sysctls: { "net.ipv4.ip_unprivileged_port_start": "1024" },
    resources: { pidsLimit: -1 },
  });
  expect(other.spec.linux.sysctl).toEqual({ "net.ipv4.ip_unprivileged_port_start": "1024" });
  expect(other.spec.linux.resources.pids).toEqual({ limit: -1 });
  const days = (date: string): number => (Date.now() - Date.parse(date)) / 86_400_000;
  for (const { version, date } of Object.values(upstream))
    expect(days(date), `${version} of ${date} falls behind: run tools/docker-defaults`).toBeLessThan(365);
});

test("an init is in front of the command, and its program is mounted read only", async () => {
  const { spec } = await specOf({ init: true, tty: true, args: ["x"] });
  expect(spec.process.args).toEqual(["/dev/warren-init", "init", "--", "/app", "x"]);
  expect(spec.mounts.find(({ destination }) => destination === "/dev/warren-init")?.options).toContain("ro");
  expect(spec.process.env).toContain("TERM=xterm");
});

test("an exec has the container's surroundings and its own line, user and terminal", async () => {
  const { text } = await specOf({ tty: true, noNewPrivileges: true });
  const user = { uid: 5, gid: 6, groups: [7] };
  const exec = execProcess(text, { args: ["sh"], env: { A: "exec" } }, user) as Spec["process"] & {
    noNewPrivileges: boolean;
  };
  expect(exec).toMatchObject({ args: ["sh"], cwd: "/srv", terminal: false, noNewPrivileges: true });
  expect(exec.env).toEqual(expect.arrayContaining(["A=exec", "HOSTNAME=web-1"]));
  expect(exec.capabilities.effective).toEqual([]);
  expect(execProcess(text, { args: ["sh"], tty: true, workingDir: "/" }, undefined)).toMatchObject({
    terminal: true,
    cwd: "/",
    user: { uid: 0 },
  });
});

test("a source or device that isn't there is refused by field", async () => {
  await expect(specOf({ mounts: [{ kind: "bind", source: "/no/such", target: "/x" }] })).rejects.toMatchObject({
    failure: { code: "RUNTIME_SPEC_INVALID", field: "mounts" },
  });
  await expect(specOf({ devices: [{ source: "/no/such" }] })).rejects.toMatchObject({
    failure: { code: "RUNTIME_SPEC_INVALID", field: "devices" },
  });
  await expect(specOf({ sysctls: { "vm.swappiness": "1" } })).rejects.toMatchObject({
    failure: { code: "RUNTIME_SPEC_INVALID", field: "sysctls" },
  });
});

test("capabilities: dropped from the usual, then added", () => {
  const of = (spec: Partial<ContainerSpec>): string[] => [...capabilitiesOf({ id: "a", image: "b", ...spec })];
  expect(of({ capabilityDrop: ["ALL"] })).toEqual([]);
  expect(of({ capabilityDrop: ["all"], capabilityAdd: ["cap_net_admin"] })).toEqual(["CAP_NET_ADMIN"]);
  expect(of({ capabilityAdd: ["ALL"] })).toHaveLength(41);
  expect(() => of({ capabilityAdd: ["FLY"] })).toThrow(expect.objectContaining({ code: "RUNTIME_SPEC_INVALID" }));
});

test("seccomp: what makes a namespace, loads code into the kernel or sets the clock comes with its capability", () => {
  const allows = (name: string, ...capabilities: string[]): boolean =>
    seccompProfile("amd64", new Set(capabilities)).syscalls.some(
      ({ names, action, args }) => action === "SCMP_ACT_ALLOW" && args === undefined && names.includes(name),
    );
  for (const [name, capability] of [
    ["mount", "CAP_SYS_ADMIN"],
    ["unshare", "CAP_SYS_ADMIN"],
    ["setns", "CAP_SYS_ADMIN"],
    ["bpf", "CAP_BPF"],
    ["init_module", "CAP_SYS_MODULE"],
    ["clock_settime", "CAP_SYS_TIME"],
    ["reboot", "CAP_SYS_BOOT"],
    ["chroot", "CAP_SYS_CHROOT"],
    ["iopl", "CAP_SYS_RAWIO"],
    ["open_by_handle_at", "CAP_DAC_READ_SEARCH"],
  ] as const)
    expect([allows(name), allows(name, capability)], name).toEqual([false, true]);
  for (const name of ["kexec_load", "keyctl", "add_key", "userfaultfd", "io_uring_setup", "swapon", "pivot_root"])
    expect(allows(name, "CAP_NET_ADMIN"), name).toBe(false);
  for (const name of ["openat", "execve", "futex", "ptrace"]) expect(allows(name), name).toBe(true);
});

test("seccomp: no container opens a socket of the kernel's cryptography or of its hypervisor", () => {
  const opens = (family: number): boolean =>
    seccompProfile("amd64", new Set(["CAP_SYS_ADMIN"])).syscalls.some(
      ({ names, action, args }) =>
        action === "SCMP_ACT_ALLOW" &&
        names.includes("socket") &&
        (args ?? []).every(
          ({ index, value, op }) => index === 0 && (op === "SCMP_CMP_LT" ? family < value : family === value),
        ),
    );
  const [unix, inet, inet6, netlink, alg, vsock] = [1, 2, 10, 16, 38, 40];
  expect([unix, inet, inet6, netlink, alg, vsock].map((family) => opens(family ?? 0))).toEqual([
    true,
    true,
    true,
    true,
    false,
    false,
  ]);
});

test("seccomp: a machine's own architecture has its calls, and those of the narrower one that it runs too", () => {
  const of = (architecture: string): ReturnType<typeof seccompProfile> => seccompProfile(architecture, new Set());
  const names = (architecture: string): string[] => of(architecture).syscalls.flatMap((rule) => rule.names);
  expect(of("amd64").architectures).toEqual(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
  expect(of("arm64").architectures).toEqual(["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]);
  expect(of("arm").architectures).toEqual(["SCMP_ARCH_ARM"]);
  for (const name of ["arm_fadvise64_64", "cacheflush", "set_tls", "sync_file_range2"]) {
    for (const architecture of ["arm", "arm64"]) expect(names(architecture), name).toContain(name);
    expect(names("amd64")).not.toContain(name);
  }
  expect(names("amd64")).toContain("arch_prctl");
  expect(names("arm")).not.toContain("arch_prctl");
});

const tables = (files: Record<string, string>): Promise<UserTables> =>
  readUserTables((path) => {
    const text = files[path];
    const absent = new RuntimeError({ code: "RUNTIME_FAILED", status: 2 }, "no such file");
    return text === undefined ? Promise.reject(absent) : Promise.resolve(Buffer.from(text));
  });

test("users and groups are the image's own, by name or number", async () => {
  const known = await tables({
    "/etc/passwd": "web:x:10:20::/:\nbad:x:::\n\nroot:x:0:0::/:\n",
    "/etc/group": "staff:x:50:web,other\nweb:x:20:\nodd:x:none:web\nwheel:x:1:root\n",
  });
  expect(processUser("web", [], known)).toEqual({ uid: 10, gid: 20, groups: [20, 50] });
  expect(processUser("web:staff", ["7"], known)).toEqual({ uid: 10, gid: 50, groups: [50, 7] });
  expect(processUser("", [], known)).toEqual({ uid: 0, gid: 0, groups: [0, 1] });
  expect(processUser("99", [], known)).toEqual({ uid: 99, gid: 0, groups: [0] });
  for (const [user, groups, field] of [
    ["old", [], "user"],
    ["bad", [], "user"],
    ["4294967295", [], "user"],
    ["web", ["none"], "groups"],
  ] as const)
    expect(() => processUser(user, groups, known)).toThrow(
      expect.objectContaining({ failure: { code: "RUNTIME_SPEC_INVALID", field } }),
    );
  expect(processUser("0", [], await tables({}))).toEqual({ uid: 0, gid: 0, groups: [0] });
});

test("a table that is no file, too long or a link in a circle is refused by name", async () => {
  for (const [errno, why] of [
    [22, "is no file"],
    [27, "is longer than"],
    [40, "leads nowhere"],
  ] as const) {
    const read = (): Promise<never> =>
      Promise.reject(new RuntimeError({ code: "RUNTIME_FAILED", status: errno }, "it failed"));
    await expect(readUserTables(read)).rejects.toThrow(why);
    await expect(readUserTables(read)).rejects.toMatchObject({
      failure: { code: "RUNTIME_SPEC_INVALID", field: "user" },
    });
  }
});

test("work of one key runs in turn, of others beside it, and a failure holds nothing up", async () => {
  const queue = new KeyedQueue();
  const seen: string[] = [];
  const gate = Promise.withResolvers<void>();
  const first = queue.run("a", async () => {
    await gate.promise;
    seen.push("a1");
    throw new Error("no");
  });
  const second = queue.run("a", async () => void seen.push("a2"));
  await queue.run("b", async () => void seen.push("b"));
  expect([queue.has("a"), queue.has("b"), queue.size]).toEqual([true, false, 1]);
  gate.resolve();
  await expect(first).rejects.toThrow("no");
  await second;
  expect(seen).toEqual(["b", "a1", "a2"]);
  expect(queue.size).toBe(0);
});

test("a runtime that ignores the mode of a tmpfs gets a hook that sets it, where there is one", async () => {
  const mounts: ContainerSpec["mounts"] = [
    { kind: "tmpfs", target: "/tmp", mode: 0o1770 },
    { kind: "bind", source: "/", target: "/host" },
    { kind: "tmpfs", target: "/run" },
  ];
  const hooksOf = async (spec: Partial<ContainerSpec>, ignores: boolean): Promise<unknown> =>
    (await specOf(spec, 2, ["cpu"], ignores)).spec.hooks;
  expect(await hooksOf({ mounts }, true)).toEqual({
    createContainer: [{ path: "/opt/init", args: ["warren-runtime", "tmpfs-modes", "1770", "/tmp", "1777", "/run"] }],
  });
  expect(await hooksOf({ mounts }, false)).toBeUndefined();
  expect(await hooksOf({}, true)).toBeUndefined();
});
