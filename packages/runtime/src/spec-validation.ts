import { isIP } from "node:net";
import type { ContainerSpec } from "./container-spec.ts";
import { RuntimeError } from "./errors.ts";
import { signalNumber } from "./signals.ts";

const idGrammar = /^[a-z0-9](?:[a-z0-9-]{0,74}[a-z0-9])?$/;
const labelGrammar = /^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?$/;
/** Characters of a host name in Linux. */
const hostnameLength = 63;
const limits: readonly string[] =
  "as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack".split(" ");
/** runc refuses less, since no process starts with it. */
const leastMemoryBytes = 512 * 1024;
/** containerd's limit of a label, key and value together. */
const labelBytes = 4096;

type Refuse = (field: string, why: string) => never;

const refuse: Refuse = (field, why) => {
  throw new RuntimeError({ code: "RUNTIME_SPEC_INVALID", field }, `${field}: ${why}`);
};

/**
 * Refuses specs that no runtime can carry out, or that would be misread (a line feed in a host's name), before anything is
 * created. What depends on the machine or the image (a device, a user's name) is checked by the runtime.
 *
 * @throws RuntimeError `RUNTIME_SPEC_INVALID`, naming the field
 */
export function checkContainerSpec(spec: ContainerSpec): void {
  if (!idGrammar.test(spec.id)) refuse("id", `"${spec.id}" is not 1 to 76 of a-z, 0-9 and inner dashes`);
  checkProcess(spec);
  checkNames(spec);
  checkResources(spec);
  checkMounts(spec);
  if (spec.log !== undefined) {
    const { fileBytes = 1 << 20, files = 1 } = spec.log;
    if (!Number.isSafeInteger(fileBytes) || fileBytes < 4096) refuse("log.fileBytes", "must be 4096 or more");
    if (!Number.isSafeInteger(files) || files < 1 || files > 1000) refuse("log.files", "must be 1 to 1000");
  }
}

function checkProcess(spec: ContainerSpec): void {
  const words = [...(spec.command ?? []), ...(spec.args ?? [])];
  if (words.some((word) => word.includes("\0"))) refuse("args", "a NUL byte can't be passed to a program");
  for (const [name, value] of Object.entries(spec.env ?? {}))
    if (!/^[^=\0]+$/.test(name) || value.includes("\0")) refuse("env", `"${name}" can't be set: a name has no "="`);
  if (spec.workingDir !== undefined && !isPlainPath(spec.workingDir))
    refuse("workingDir", "must be an absolute path without ..");
  if (spec.stopSignal !== undefined) signalNumber(spec.stopSignal, "stopSignal");
  for (const { name, soft, hard } of spec.ulimits ?? []) {
    if (!limits.includes(name)) refuse("ulimits", `"${name}" is none of ${limits.join(", ")}`);
    if (!isLimit(soft) || !isLimit(hard) || rank(soft) > rank(hard))
      refuse("ulimits", `${name}: needs soft and hard as whole numbers (-1: none), soft at most hard`);
  }
}

const isLimit = (n: number): boolean => Number.isSafeInteger(n) && n >= -1;
const rank = (n: number): number => (n === -1 ? Number.POSITIVE_INFINITY : n);

function checkNames(spec: ContainerSpec): void {
  const { hostname, dns } = spec;
  if (hostname !== undefined && (hostname.length > hostnameLength || !isHostname(hostname)))
    refuse("hostname", `"${hostname}" is not 1 to ${hostnameLength} of letters, digits, dots and inner dashes`);
  for (const [name, address] of Object.entries(spec.extraHosts ?? {})) {
    if (!isHostname(name)) refuse("extraHosts", `"${name}" is no host name`);
    if (isIP(address) === 0) refuse("extraHosts", `"${address}" of ${name} is no address`);
  }
  for (const server of dns?.servers ?? []) if (isIP(server) === 0) refuse("dns.servers", `"${server}" is no address`);
  for (const domain of dns?.search ?? [])
    if (domain !== "." && !isHostname(domain.replace(/\.$/, ""))) refuse("dns.search", `"${domain}" is no domain`);
  for (const option of dns?.options ?? [])
    if (!/^[\w:.-]+$/.test(option)) refuse("dns.options", `"${option}" is no option of resolv.conf`);
  for (const [key, value] of Object.entries(spec.labels ?? {}))
    if (key === "" || Buffer.byteLength(key) + Buffer.byteLength(value) > labelBytes)
      refuse("labels", `"${key.slice(0, 40)}": a label has a name, and at most ${labelBytes} bytes with its value`);
}

// A service's or slot's name may hold an underscore; resolvers take it.
const isHostname = (name: string): boolean =>
  name !== "" && name.length <= 253 && name.split(".").every((part) => labelGrammar.test(part.replaceAll("_", "a")));

function checkResources({ resources: r = {} }: ContainerSpec): void {
  const positive = (field: keyof typeof r): void => {
    const value = r[field];
    if (field === "pidsLimit" && value === -1) return;
    if (value !== undefined && !(Number.isFinite(value) && value > 0)) refuse(`resources.${field}`, "must be above 0");
  };
  for (const field of [
    "cpuLimit",
    "cpuReservation",
    "memoryLimitBytes",
    "memoryReservationBytes",
    "pidsLimit",
  ] as const)
    positive(field);
  for (const field of ["memoryLimitBytes", "memoryReservationBytes", "pidsLimit"] as const)
    if (r[field] !== undefined && !Number.isSafeInteger(r[field])) refuse(`resources.${field}`, "must be whole");
  const { memoryLimitBytes: most, memoryReservationBytes: kept } = r;
  if (most !== undefined && most < leastMemoryBytes)
    refuse("resources.memoryLimitBytes", `must be ${leastMemoryBytes} or more: nothing starts in less`);
  if (most !== undefined && kept !== undefined && kept > most)
    refuse("resources.memoryReservationBytes", "must not be above memoryLimitBytes");
}

function checkMounts(spec: ContainerSpec): void {
  const targets = new Set<string>();
  for (const mount of spec.mounts ?? []) {
    if (!isPlainPath(mount.target) || mount.target === "/")
      refuse("mounts", `"${mount.target}" must be an absolute path below / without ..`);
    if (targets.has(mount.target)) refuse("mounts", `${mount.target} is mounted on twice`);
    targets.add(mount.target);
    if (mount.kind === "bind" && !isPlainPath(mount.source))
      refuse("mounts", `source "${mount.source}" must be an absolute path without ..`);
    if (mount.kind === "tmpfs" && mount.sizeBytes !== undefined && !(mount.sizeBytes > 0))
      refuse("mounts", `${mount.target}: sizeBytes must be above 0`);
  }
  for (const { source, target = source, permissions = "rwm" } of spec.devices ?? []) {
    if (!isPlainPath(source) || !isPlainPath(target)) refuse("devices", "source and target must be absolute paths");
    if (!/^(?!.*(.).*\1)[rwm]{1,3}$/.test(permissions))
      refuse("devices", `permissions "${permissions}" are not some of r, w and m`);
  }
}

const isPlainPath = (path: string): boolean =>
  path.startsWith("/") && !path.includes("\0") && !path.split("/").includes("..");
