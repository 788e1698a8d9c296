import { stat } from "node:fs/promises";
import { posix } from "node:path";
import {
  RuntimeError,
  type ContainerSpec,
  type Device,
  type ExecSpec,
  type ImageConfig,
  type Mount,
} from "@warren/runtime";
import { capabilitiesOf } from "./capabilities.ts";
import { cpuWeights, type Cgroups } from "./cgroup.ts";
import { maskedPaths, readonlyPaths, sysctls as usualSysctls } from "./docker-defaults.ts";
import { commandLine } from "./command-line.ts";
import { seccompProfile } from "./seccomp.ts";

/** Who the process is, in numbers. */
export interface ProcessUser {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

/** What is settled before the spec can be written. */
export interface Surroundings {
  readonly architecture: string;
  readonly netnsPath: string;
  readonly cgroupsPath: string;
  readonly cgroups: Pick<Cgroups, "version" | "limitsSwap" | "controllers">;
  /** The program that is the container's init, on this machine. */
  readonly initProgram: string;
  /** Whether the OCI runtime ignores the mode of a tmpfs on a directory that the image has. */
  readonly ignoresTmpfsModes: boolean;
  readonly user: ProcessUser;
  /** Of Docker's defaults, what this kernel and this machine's processors have. */
  readonly kernel: { readonly sysctls: ReadonlySet<string>; readonly maskedPaths: readonly string[] };
  /** Made by us for this container; mounted over the image's. */
  readonly files: Readonly<Record<"/etc/hosts" | "/etc/hostname" | "/etc/resolv.conf", string>>;
}

interface OciMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

const systemMounts: readonly OciMount[] = [
  { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
  {
    destination: "/dev",
    type: "tmpfs",
    source: "tmpfs",
    options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
  },
  {
    destination: "/dev/pts",
    type: "devpts",
    source: "devpts",
    options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
  },
  {
    destination: "/dev/shm",
    type: "tmpfs",
    source: "shm",
    options: ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
  },
  { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
  { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
  { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["nosuid", "noexec", "nodev", "ro"] },
];

/** Null, zero, full, random, urandom, tty, the ends of terminals; everything else is denied. */
const usualDevices = [
  { allow: false, access: "rwm" },
  ...["c 1:3", "c 1:5", "c 1:7", "c 1:8", "c 1:9", "c 5:0", "c 5:2"].map((device) => {
    const [, major, minor] = /(\d+):(\d+)/.exec(device) ?? [];
    return { allow: true, type: "c", major: Number(major), minor: Number(minor), access: "rwm" };
  }),
  { allow: true, type: "c", major: 136, access: "rwm" },
  { allow: true, type: "c", access: "m" },
  { allow: true, type: "b", access: "m" },
];

/** Where the init is in the container: on the tmpfs, so that no image and no layer is touched. */
const initPath = "/dev/warren-init";
/** Terminal size until the caller sets one. */
const consoleSize = { width: 80, height: 24 };

const cpuPeriodUs = 100_000;

/** The OCI runtime spec of a container, as an object ready for JSON. */
export async function ociSpec(spec: ContainerSpec, image: ImageConfig, around: Surroundings): Promise<object> {
  const capabilities = [...capabilitiesOf(spec)];
  const devices = await Promise.all((spec.devices ?? []).map(describeDevice));
  const command = commandLine(image, spec.command, spec.args);
  await Promise.all((spec.mounts ?? []).map(checkSource));
  return {
    ociVersion: "1.0.2",
    hostname: hostnameOf(spec),
    root: { path: "rootfs", readonly: spec.readOnlyRoot ?? false },
    process: {
      ...terminal(spec.tty ?? false),
      ...identity(around.user, capabilities),
      args: spec.init ? [initPath, "init", "--", ...command] : command,
      env: environment(spec, image),
      cwd: spec.workingDir ?? posix.resolve("/", image.workingDir ?? ""),
      noNewPrivileges: spec.noNewPrivileges ?? false,
      // As with Docker, what is not given is what containerd has itself.
      rlimits: (spec.ulimits ?? []).map(({ name, soft, hard }) => ({
        type: `RLIMIT_${name.toUpperCase()}`,
        soft: resourceLimit(soft),
        hard: resourceLimit(hard),
      })),
      // Else a container has its shim's, which the kernel spares, and everything else on the machine goes before it.
      oomScoreAdj: 0,
    } satisfies OciProcess,
    mounts: [
      ...systemMounts,
      ...Object.entries(around.files).map(([destination, source]) => bind(source, destination, true)),
      ...(spec.init ? [bind(around.initProgram, initPath, true)] : []),
      ...(spec.mounts ?? []).map(userMount),
    ],
    ...(around.ignoresTmpfsModes && tmpfsModes(spec.mounts ?? [], around.initProgram)),
    linux: {
      cgroupsPath: around.cgroupsPath,
      namespaces: [
        ...["pid", "ipc", "uts", "mount"].map((type) => ({ type })),
        { type: "network", path: around.netnsPath },
        // As Docker does: with version 1, a namespace would hide nothing.
        ...(around.cgroups.version === 2 ? [{ type: "cgroup" }] : []),
      ],
      resources: {
        ...resources(spec, around.cgroups),
        devices: [...usualDevices, ...devices.map((d) => d.rule)],
      },
      devices: devices.map((d) => d.node),
      sysctl: { ...defaultSysctls(around.kernel.sysctls), ...sysctls(spec) },
      maskedPaths: [...maskedPaths, ...around.kernel.maskedPaths],
      readonlyPaths,
      seccomp: seccompProfile(around.architecture, new Set(capabilities)),
    },
  };
}

/** OCI's `process`, as far as it is written here. */
interface OciProcess {
  readonly terminal: boolean;
  readonly user: object;
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly capabilities: { readonly bounding: readonly string[] };
  readonly noNewPrivileges: boolean;
  readonly rlimits: readonly object[];
  readonly oomScoreAdj: number;
}

/** OCI's `process` of one that joins the container whose spec is `text`. */
export function execProcess(text: string, exec: ExecSpec, user: ProcessUser | undefined): object {
  const { process } = JSON.parse(text) as { readonly process: OciProcess };
  const env = new Map(process.env.map(splitEntry));
  if (exec.tty && !env.has("TERM")) env.set("TERM", "xterm");
  for (const [name, value] of Object.entries(exec.env ?? {})) env.set(name, value);
  return {
    ...process,
    consoleSize: undefined,
    ...terminal(exec.tty ?? false),
    ...(user && identity(user, process.capabilities.bounding)),
    args: exec.args,
    env: [...env].map(([name, value]) => `${name}=${value}`),
    cwd: exec.workingDir ?? process.cwd,
  };
}

function terminal(tty: boolean): { readonly terminal: boolean; readonly consoleSize?: object } {
  return tty ? { terminal: true, consoleSize } : { terminal: false };
}

function identity(
  { uid, gid, groups }: ProcessUser,
  bounding: readonly string[],
): Pick<OciProcess, "user" | "capabilities"> {
  // A process that is not root starts with none and may gain them only by a file that grants them.
  const effective = uid === 0 ? bounding : [];
  const capabilities = { bounding, effective, permitted: effective };
  return { user: { uid, gid, additionalGids: groups }, capabilities };
}

/** The kernel's "no limit", which a JavaScript number can't hold. */
const unlimited = (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON("18446744073709551615");

function resourceLimit(value: number): unknown {
  return value === -1 ? unlimited : value;
}

export function hostnameOf({ hostname, id }: ContainerSpec): string {
  return hostname ?? id.slice(0, 12);
}

function environment(spec: ContainerSpec, image: ImageConfig): string[] {
  const env = new Map([
    ["PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    ["HOSTNAME", hostnameOf(spec)],
  ]);
  if (spec.tty) env.set("TERM", "xterm");
  for (const entry of image.env) env.set(...splitEntry(entry));
  for (const [name, value] of Object.entries(spec.env ?? {})) env.set(name, value);
  return [...env].map(([name, value]) => `${name}=${value}`);
}

function splitEntry(entry: string): [name: string, value: string] {
  const [name = "", ...value] = entry.split("=");
  return [name, value.join("=")];
}

/** Room for a large program, and none for one that forks without end. */
const defaultPids = 4_096;

function resources({ resources: r = {} }: ContainerSpec, cgroups: Surroundings["cgroups"]): object {
  const weights = cpuWeights(cgroups, r.cpuReservation);
  const pids = r.pidsLimit ?? (cgroups.controllers.has("pids") ? defaultPids : undefined);
  return {
    cpu: {
      ...(r.cpuLimit !== undefined && {
        period: cpuPeriodUs,
        quota: Math.max(1_000, Math.round(r.cpuLimit * cpuPeriodUs)),
      }),
      ...weights.cpu,
    },
    memory: {
      // Swap counts too, so that a limit is one where there is swap.
      ...(r.memoryLimitBytes !== undefined && {
        limit: r.memoryLimitBytes,
        ...(cgroups.limitsSwap && { swap: r.memoryLimitBytes }),
      }),
      ...memoryReservation(cgroups, r.memoryReservationBytes),
    },
    ...(pids !== undefined && { pids: { limit: pids } }),
    ...weights.more,
  };
}

/**
 * Version 1 takes memory first from cgroups above their soft limit, and never from one without: so a container that
 * reserves nothing gets one of nothing.
 */
function memoryReservation(
  { version, controllers }: Surroundings["cgroups"],
  bytes: number | undefined,
): { readonly reservation?: number } {
  if (bytes !== undefined) return { reservation: bytes };
  return version === 1 && controllers.has("memory") ? { reservation: 1 } : {};
}

/** The kernel's switches that belong to the container's own namespaces. */
const ownSysctl = /^(net\.|kernel\.(msg|sem|shm)|fs\.mqueue\.)/;

/** Docker's, where the kernel has them. */
function defaultSysctls(known: ReadonlySet<string>): Record<string, string> {
  return Object.fromEntries(Object.entries(usualSysctls).filter(([name]) => known.has(name)));
}

function sysctls(spec: ContainerSpec): Record<string, string> {
  for (const name of Object.keys(spec.sysctls ?? {})) {
    if (ownSysctl.test(name)) continue;
    throw new RuntimeError(
      { code: "RUNTIME_SPEC_INVALID", field: "sysctls" },
      `sysctls: "${name}" would change the whole machine; a container may set net.*, kernel.msg*, kernel.sem, kernel.shm* and fs.mqueue.*`,
    );
  }
  return { ...spec.sysctls };
}

function userMount(mount: Mount): OciMount {
  if (mount.kind === "bind") return bind(mount.source, mount.target, mount.readOnly ?? false);
  const size = mount.sizeBytes === undefined ? [] : [`size=${mount.sizeBytes}`];
  return {
    destination: mount.target,
    type: "tmpfs",
    source: "tmpfs",
    options: ["nosuid", "nodev", `mode=${modeOf(mount)}`, ...size],
  };
}

const defaultTmpfsMode = 0o1777;

function modeOf({ mode = defaultTmpfsMode }: { readonly mode?: number }): string {
  return mode.toString(8);
}

/** A hook that gives the tmpfs mounts their modes once they are there. No mounts, no hook: it is one more program. */
function tmpfsModes(mounts: readonly Mount[], program: string): object {
  const pairs = mounts.flatMap((mount) => (mount.kind === "tmpfs" ? [modeOf(mount), mount.target] : []));
  return pairs.length === 0
    ? {}
    : { hooks: { createContainer: [{ path: program, args: ["warren-runtime", "tmpfs-modes", ...pairs] }] } };
}

/** A source that is not there would be found at the start, by a text of runc's. */
async function checkSource(mount: Mount): Promise<void> {
  if (mount.kind !== "bind") return;
  const found = await stat(mount.source).catch((error: NodeJS.ErrnoException) => error);
  if (found instanceof Error)
    throw new RuntimeError(
      { code: "RUNTIME_SPEC_INVALID", field: "mounts" },
      `mounts: ${mount.source} is not on this machine`,
      { cause: found },
    );
}

function bind(source: string, destination: string, readOnly: boolean): OciMount {
  return { destination, type: "bind", source, options: ["rbind", "rprivate", readOnly ? "ro" : "rw"] };
}

async function describeDevice({
  source,
  target = source,
  permissions = "rwm",
}: Device): Promise<{ node: object; rule: object }> {
  const found = await stat(source).catch((error: NodeJS.ErrnoException) => error);
  if (found instanceof Error || !(found.isCharacterDevice() || found.isBlockDevice()))
    throw new RuntimeError(
      { code: "RUNTIME_SPEC_INVALID", field: "devices" },
      `devices: ${source} is no device on this machine`,
    );
  const type = found.isCharacterDevice() ? "c" : "b";
  // Linux packs both numbers into one, the old low bits first.
  const major = (found.rdev >>> 8) & 0xfff;
  const minor = (found.rdev & 0xff) | ((found.rdev >>> 12) & 0xfff00);
  return {
    node: { path: target, type, major, minor, fileMode: found.mode & 0o777, uid: found.uid, gid: found.gid },
    rule: { allow: true, type, major, minor, access: permissions },
  };
}
