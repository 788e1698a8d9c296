import { BlockList, isIPv6 } from "node:net";
import { constants } from "node:os";
import { z } from "zod";
import type { ContainerSpec, HealthCheck, Mount } from "../generated/warren/v1/container.ts";
import { defaultProbe, defaultStopGraceMs } from "../model/spec-defaults.ts";
import { isCapability } from "./capabilities.ts";
import {
  address,
  delayMs,
  duplicates,
  hasControl,
  isHostname,
  labels,
  list,
  map,
  pathFault,
  port,
  quoted,
  whole,
  word,
  zeroIs,
} from "./fields.ts";
import { imageFault } from "./image-reference.ts";
import { limits } from "./limits.ts";
import { crossRule, rule } from "./violations.ts";

const path = rule(z.string(), pathFault);
const volumeName = rule(z.string(), (value) =>
  /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/.test(value)
    ? undefined
    : `${quoted(value)} is not a valid name of a volume: want up to 128 of letters, digits and, not first, "_", "." and "-"`,
);

const source: z.ZodType<Mount["source"]> = z.discriminatedUnion(
  "$case",
  [
    z.object({ $case: z.literal("bind"), value: z.object({ path }) }),
    z.object({ $case: z.literal("volume"), value: z.object({ name: volumeName }) }),
    z.object({
      $case: z.literal("tmpfs"),
      value: z.object({
        sizeBytes: whole(0, limits.mostMemoryBytes, " bytes"),
        mode: zeroIs(whole(1, 0o7777), 0o1777),
      }),
    }),
  ],
  { error: "want one of bind, volume and tmpfs" },
);

const mount: z.ZodType<Mount> = crossRule(z.object({ source, target: path, readOnly: z.boolean() }), (value, fault) => {
  if (value.target === "/") fault(["target"], "the root can't be mounted over: want a path below /");
  if (value.source?.$case === "tmpfs" && value.readOnly)
    fault(["readOnly"], "a tmpfs that can't be written is of no use: leave it out");
});

const ulimitNames: readonly string[] =
  "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack as".split(" ");
const rank = (limit: number): number => (limit === -1 ? Number.POSITIVE_INFINITY : limit);
const ulimit = crossRule(
  z.object({
    name: rule(z.string(), (value) =>
      ulimitNames.includes(value) ? undefined : `${quoted(value)} is none of ${ulimitNames.join(", ")}`,
    ),
    soft: whole(-1, Number.MAX_SAFE_INTEGER),
    hard: whole(-1, Number.MAX_SAFE_INTEGER),
  }),
  ({ soft, hard }, fault) => {
    if (rank(soft) > rank(hard)) fault(["soft"], `must not be above hard, which is ${hard} (-1: no limit)`);
  },
);

const device = z
  .object({
    source: path,
    target: rule(z.string(), (value) => (value === "" ? undefined : pathFault(value))),
    permissions: rule(z.string(), (value) =>
      value === "" || /^(?!.*(.).*\1)[rwm]{1,3}$/.test(value) ? undefined : `${quoted(value)}: want some of r, w and m`,
    ),
  })
  .transform((value) => ({
    source: value.source,
    target: value.target || value.source,
    permissions: value.permissions || "rwm",
  }));

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8);
loopback.addAddress("::1", "ipv6");
const isLoopback = (value: string): boolean => loopback.check(value, isIPv6(value) ? "ipv6" : "ipv4");

const dns = z.object({
  servers: list(
    rule(address, (value) =>
      isLoopback(value)
        ? `${value} is within the container, where the node's name server can't ask: want an address that the node reaches`
        : undefined,
    ),
    limits.dnsServers,
  ),
  search: list(
    rule(z.string(), (value) =>
      value === "." || isHostname(value.replace(/\.$/, "")) ? undefined : `${quoted(value)} is not a domain`,
    ),
    limits.dnsSearch,
  ),
  options: list(
    rule(z.string(), (value) =>
      /^[\w:.-]+$/.test(value) ? undefined : `${quoted(value)} is not an option of resolv.conf, such as ndots:2`,
    ),
    limits.dnsOptions,
  ),
});

const httpPath = rule(z.string(), (value) =>
  value === "" || (value.startsWith("/") && !hasControl(value) && !value.includes(" ") && value.length <= 2_048)
    ? undefined
    : `${quoted(value)}: want a path that begins with "/", without spaces, at most 2,048 characters`,
).transform((value) => value || "/");

const probe: z.ZodType<HealthCheck["probe"]> = z.discriminatedUnion(
  "$case",
  [
    z.object({ $case: z.literal("http"), value: z.object({ port, path: httpPath }) }),
    z.object({ $case: z.literal("tcp"), value: z.object({ port }) }),
    z.object({ $case: z.literal("none"), value: z.object({}) }),
    z.object({
      $case: z.literal("exec"),
      value: z.object({
        command: rule(list(word, limits.words), ({ length, 0: first }) =>
          length === 0 || first === "" ? "name a program to run in the container" : undefined,
        ),
      }),
    }),
  ],
  { error: "want one of http, tcp, exec and none; leave health_check out for what the image says" },
);

const healthCheck: z.ZodType<HealthCheck> = z.object({
  probe,
  intervalMs: zeroIs(whole(1, limits.delayMs, " ms"), defaultProbe.intervalMs),
  timeoutMs: zeroIs(whole(1, limits.delayMs, " ms"), defaultProbe.timeoutMs),
  retries: zeroIs(whole(1, 100), defaultProbe.retries),
  startPeriodMs: delayMs,
});

const logRotation = z
  .object({
    maxFileBytes: zeroIs(whole(4_096, 2 ** 40, " bytes"), 10 * 1024 * 1024),
    maxFiles: zeroIs(whole(1, 1_000), 5),
  })
  .default({ maxFileBytes: 10 * 1024 * 1024, maxFiles: 5 });

const capability = rule(z.string(), (value) =>
  isCapability(value) ? undefined : `${quoted(value)} is not a Linux capability: want such as NET_ADMIN, or ALL`,
);

/** What keeps a text from being a variable's name: Docker's env files refuse white space too, and take all else. */
export function environmentNameFault(name: string): string | undefined {
  if (name === "") return "a variable needs a name";
  return /[=\0\s]/.test(name)
    ? "a variable's name is of letters, digits and signs, without white space, = and NUL"
    : undefined;
}

const environment = map(limits.environment, (key, value) => {
  const why = environmentNameFault(key);
  if (why !== undefined) return why;
  if (value.includes("\0")) return "a NUL can't be passed to a program";
  return Buffer.byteLength(key) + Buffer.byteLength(value) + 1 >= limits.wordBytes
    ? `longer than ${limits.wordBytes - 1} bytes with its name`
    : undefined;
});

const sysctls = map(limits.sysctls, (key, value) => {
  const own = /^(?:net\.|kernel\.(?:msg|shm)|fs\.mqueue\.)[a-z0-9_./-]+$/.test(key) || key === "kernel.sem";
  if (!own)
    return "is the machine's, not the container's: want net.*, kernel.msg*, kernel.sem, kernel.shm* or fs.mqueue.*";
  return value === "" || hasControl(value.replaceAll("\t", " ")) ? "want a value, on one line" : undefined;
});

const extraHosts = map(limits.extraHosts, (key, value) => {
  if (!isHostname(key)) return "is not a host name";
  return address.safeParse(value).success ? undefined : `${quoted(value)} is not an IP address`;
});

/** Real-time signals as the C libraries number them: the first that a program may use, and the last. */
const firstRealTime = 34;
const largestSignal = 64;

function signalFault(signal: string): string | undefined {
  const name = signal.toUpperCase().replace(/^SIG/, "");
  const [, base, sign = "+", offset = "0"] = /^(RTMIN|RTMAX)(?:([+-])(\d{1,2}))?$/.exec(name) ?? [];
  const realTime = (base === "RTMIN" ? firstRealTime : largestSignal) + Number(`${sign}${offset}`);
  const isSignal =
    base === undefined
      ? Object.hasOwn(constants.signals, `SIG${name}`) || (/^\d{1,2}$/.test(signal) && inRange(Number(signal), 1))
      : inRange(realTime, firstRealTime);
  return signal === "" || isSignal
    ? undefined
    : `${quoted(signal)} is not a signal: want TERM, SIGTERM, SIGRTMIN+3 or a number from 1 to ${largestSignal}`;
}

function inRange(signal: number, least: number): boolean {
  return signal >= least && signal <= largestSignal;
}

const principal = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\$?$/;

export const container: z.ZodType<ContainerSpec> = crossRule(
  z.object({
    image: rule(z.string(), imageFault),
    command: list(word, limits.words),
    args: list(word, limits.words),
    env: environment,
    workingDir: rule(z.string(), (value) => (value === "" ? undefined : pathFault(value))),
    user: rule(z.string(), (value) =>
      value === "" || (value.split(":").length <= 2 && value.split(":").every((part) => principal.test(part)))
        ? undefined
        : `${quoted(value)}: want USER, UID, USER:GROUP or UID:GID`,
    ),
    groups: list(
      rule(z.string(), (value) =>
        principal.test(value) ? undefined : `${quoted(value)} is not a group's name or number`,
      ),
      limits.groups,
    ),
    hostname: rule(z.string(), (value) =>
      value === "" || (value.length <= 63 && isHostname(value))
        ? undefined
        : `${quoted(value)}: want up to 63 of letters, digits, "." and inner "-"`,
    ),
    labels,
    mounts: list(mount, limits.mounts),
    readOnlyRoot: z.boolean(),
    capabilityAdd: list(capability, limits.capabilities),
    capabilityDrop: list(capability, limits.capabilities),
    sysctls,
    ulimits: list(ulimit, limits.ulimits),
    devices: list(device, limits.devices),
    extraHosts,
    dns: dns.optional(),
    init: z.boolean(),
    tty: z.boolean(),
    noNewPrivileges: z.boolean(),
    stopSignal: rule(z.string(), signalFault),
    stopGraceMs: delayMs.default(defaultStopGraceMs),
    healthCheck: healthCheck.optional(),
    logRotation,
  }),
  (value, fault) => {
    duplicates(
      value.mounts,
      ({ target }) => target.replace(/\/+$/, ""),
      (i, first) => fault(["mounts", i, "target"], `is where mounts[${first}] is already`),
    );
    duplicates(
      value.ulimits,
      (each) => each.name,
      (i, first) => fault(["ulimits", i, "name"], `is set by ulimits[${first}] already`),
    );
    duplicates(
      value.devices,
      (each) => each.target || each.source,
      (i, first) => fault(["devices", i, "target"], `is where devices[${first}] is already`),
    );
  },
) as unknown as z.ZodType<ContainerSpec>;
