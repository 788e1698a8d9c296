/**
 * Every flag of a service with odd values, beside what Docker does with them (docs.docker.com, `docker service create` and
 * `docker run`, docker/cli 29). What Docker takes is taken with its meaning, or refused with what to do instead.
 */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PortSpec_Mode, PortSpec_Protocol, ServiceSpec, UpdateConfig_FailureAction } from "@warren/api";
import { checkServiceSpec } from "@warren/api/spec";
import { describe, expect, test } from "vitest";
import { parseScales } from "../src/commands/service-change.ts";
import { parseEnvFile } from "../src/service/env-file.ts";
import { applyServiceFlags, serviceFlags } from "../src/service/service-flags.ts";
import { violationText } from "../src/field-words.ts";
import { serviceFieldWords } from "../src/service/service-flags.ts";
import { ApiError } from "@warren/api";

const blank = ServiceSpec.fromPartial({ name: "web", task: { container: { image: "nginx" } } });

/** The spec as a manager would take it, or the refusal's text, of the command line or of the API's check. */
function outcome(flags: Readonly<Record<string, unknown>>, before: ServiceSpec = blank): ServiceSpec | string {
  try {
    return checkServiceSpec(applyServiceFlags(before, flags, undefined));
  } catch (error) {
    if (ApiError.is(error, "API_INVALID")) return violationText(error.failure.violations, serviceFieldWords);
    return (error as Error).message;
  }
}

function at(spec: ServiceSpec | string, path: string): unknown {
  return path.split(".").reduce<unknown>((each, key) => (each as Record<string, unknown> | undefined)?.[key], spec);
}

const c = "task.container";
const r = "task.resources";
const tcp = { protocol: PortSpec_Protocol.TCP, mode: PortSpec_Mode.INGRESS };
const shell = (command: string): unknown => ({
  $case: "exec",
  value: { command: ["/bin/sh", "-c", command] },
});

/** Flag, what is typed, what Docker does, where it arrives with us, as what. */
const taken: readonly (readonly [string, unknown, string, string, unknown])[] = [
  ["image", "localhost:5000/a", "takes", `${c}.image`, "localhost:5000/a"],
  ["entrypoint", "", "none: the image's", `${c}.command`, []],
  ["entrypoint", "sh -c 'a b'", "words as a shell", `${c}.command`, ["sh", "-c", "a b"]],
  ["env", ["A="], "empty", `${c}.env`, { A: "" }],
  ["env", ["A=b=c"], "the first = divides", `${c}.env`, { A: "b=c" }],
  ["env", ["A=1", "A=2"], "the last holds", `${c}.env`, { A: "2" }],
  ["env", ["discovery.type=single-node"], "takes", `${c}.env`, { "discovery.type": "single-node" }],
  ["env", ["a-b=1", "0=1"], "takes", `${c}.env`, { "a-b": "1", "0": "1" }],
  ["env", ["A= b "], "keeps spaces", `${c}.env`, { A: " b " }],
  ["env", ["constructor=1"], "takes", `${c}.env`, { constructor: "1" }],
  ["workdir", "/srv", "takes", `${c}.workingDir`, "/srv"],
  ["workdir", "", "the image's", `${c}.workingDir`, ""],
  ["user", "1000:1000", "takes", `${c}.user`, "1000:1000"],
  ["group", ["20", "20"], "once", `${c}.groups`, ["20"]],
  ["hostname", "a.example", "takes", `${c}.hostname`, "a.example"],
  ["label", ["a"], "empty value", "labels", { a: "" }],
  ["label", ["a=1", "a=2"], "the last holds", "labels", { a: "2" }],
  ["container-label", ["a"], "empty value", `${c}.labels`, { a: "" }],
  [
    "mount",
    ["src=data,dst=/data"],
    "type=volume",
    `${c}.mounts`,
    [{ source: { $case: "volume", value: { name: "data" } }, target: "/data", readOnly: false }],
  ],
  ["mount", ["type=bind,source=/a,target=/b,readonly=true"], "read only", `${c}.mounts.0.readOnly`, true],
  ["mount", ["type=bind,src=/a,dst=/b,ro=0"], "as Go reads a bool", `${c}.mounts.0.readOnly`, false],
  ["mount", ['type=bind,"src=/a,b",dst=/b'], "CSV", `${c}.mounts.0.source.value.path`, "/a,b"],
  ["mount", ["TYPE=tmpfs,dst=/t"], "keys in any case", `${c}.mounts.0.source.$case`, "tmpfs"],
  [
    "mount",
    ["type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=01770"],
    "takes",
    `${c}.mounts.0.source.value`,
    { sizeBytes: 1_048_576, mode: 0o1770 },
  ],
  ["stop-signal", "SIGRTMIN+3", "takes", `${c}.stopSignal`, "SIGRTMIN+3"],
  ["stop-signal", "9", "takes", `${c}.stopSignal`, "9"],
  ["stop-grace", "0", "kills at once", `${c}.stopGraceMs`, 0],
  ["stop-grace", "1h30m", "Go's durations", `${c}.stopGraceMs`, 5_400_000],
  ["stop-grace", "1.5s", "Go's durations", `${c}.stopGraceMs`, 1_500],
  ["stop-grace", "2000000us", "Go's durations", `${c}.stopGraceMs`, 2_000],
  ["registry-login", "registry.example:5000", "–", "task.registryLogin", "registry.example:5000"],
  ["limit-cpu", "0", "no limit", `${r}.cpuLimitNanos`, 0],
  ["limit-cpu", ".5", "takes", `${r}.cpuLimitNanos`, 500_000_000],
  ["limit-memory", "0", "no limit", `${r}.memoryLimitBytes`, 0],
  ["limit-memory", "64MiB", "powers of 1024", `${r}.memoryLimitBytes`, 67_108_864],
  ["limit-memory", "0.5g", "takes", `${r}.memoryLimitBytes`, 536_870_912],
  ["limit-memory", "67108864", "bytes", `${r}.memoryLimitBytes`, 67_108_864],
  ["limit-pids", "0", "no limit", `${r}.pidsLimit`, -1],
  ["limit-pids", "-1", "no limit", `${r}.pidsLimit`, -1],
  ["limit-pids", "none", "–", `${r}.pidsLimit`, -1],
  ["reserve-cpu", "0", "nothing", `${r}.cpuReservationNanos`, 0],
  ["reserve-memory", "0", "nothing", `${r}.memoryReservationBytes`, 0],
  ["ulimit", ["nofile=9"], "soft and hard", `${c}.ulimits`, [{ name: "nofile", soft: 9, hard: 9 }]],
  ["ulimit", ["core=-1"], "no limit", `${c}.ulimits`, [{ name: "core", soft: -1, hard: -1 }]],
  ["ulimit", ["nofile=1", "nofile=2"], "the last holds", `${c}.ulimits`, [{ name: "nofile", soft: 2, hard: 2 }]],
  ["cap-add", ["cap_net_admin", "NET_ADMIN"], "one, however spelled", `${c}.capabilityAdd`, ["NET_ADMIN"]],
  ["cap-drop", ["all"], "in any case", `${c}.capabilityDrop`, ["all"]],
  ["sysctl", ["net.a=1", "net.a=2"], "the last holds", `${c}.sysctls`, { "net.a": "2" }],
  [
    "device",
    ["/dev/null:r"],
    "permissions",
    `${c}.devices`,
    [{ source: "/dev/null", target: "/dev/null", permissions: "r" }],
  ],
  ["health-http", "80", "–", `${c}.healthCheck.probe`, { $case: "http", value: { port: 80, path: "/" } }],
  ["health-tcp", "80", "–", `${c}.healthCheck.probe`, { $case: "tcp", value: { port: 80 } }],
  ["health-cmd", "test -d /x || exit 1", "a shell", `${c}.healthCheck.probe`, shell("test -d /x || exit 1")],
  ["health-cmd", "[ -f /x ]", "a shell", `${c}.healthCheck.probe`, shell("[ -f /x ]")],
  [
    "health-cmd",
    '["test", "-f", "/x"]',
    "–",
    `${c}.healthCheck.probe`,
    { $case: "exec", value: { command: ["test", "-f", "/x"] } },
  ],
  [
    "publish",
    ["80:80", "8080:80"],
    "both",
    "ports",
    [
      { target: 80, published: 80, ...tcp },
      { target: 80, published: 8_080, ...tcp },
    ],
  ],
  ["publish", ["80:80", "80:80"], "one", "ports", [{ target: 80, published: 80, ...tcp }]],
  ["publish", ["80"], "any port", "ports", [{ target: 80, published: 0, ...tcp }]],
  ["publish", ["80:80/TCP"], "in any case", "ports", [{ target: 80, published: 80, ...tcp }]],
  [
    "publish",
    ["8000-8001:80-81"],
    "a range",
    "ports",
    [
      { target: 80, published: 8_000, ...tcp },
      { target: 81, published: 8_001, ...tcp },
    ],
  ],
  ["publish", ["53:53", "53:53/udp"], "both", "ports.length", 2],
  ["network", ["name=a,alias=b"], "takes", "task.networks", [{ network: "a", aliases: ["b"] }]],
  ["add-host", ["a:[::1]"], "takes", `${c}.extraHosts`, { a: "::1" }],
  ["add-host", ["a=10.0.0.1"], "takes", `${c}.extraHosts`, { a: "10.0.0.1" }],
  ["dns", ["10.0.0.1", "10.0.0.1"], "once", `${c}.dns.servers`, ["10.0.0.1"]],
  ["dns-search", ["."], "takes", `${c}.dns.search`, ["."]],
  ["dns-option", ["ndots:2"], "takes", `${c}.dns.options`, ["ndots:2"]],
  ["constraint", ["node.role==manager"], "takes", "task.placement.constraints", ["node.role==manager"]],
  ["max-replicas-per-node", "0", "no limit", "task.placement.maxReplicasPerNode", 0],
  ["restart-delay", "0s", "takes", "task.restart.delayMs", 0],
  ["restart-max-attempts", "0", "no limit", "task.restart.maxAttempts", 0],
  ["restart-window", "30d", "–", "task.restart.windowMs", 2_592_000_000],
  ["log-max-size", "10m", "takes", `${c}.logRotation.maxFileBytes`, 10_485_760],
  ["log-max-files", "1", "takes", `${c}.logRotation.maxFiles`, 1],
  ["update-parallelism", "0", "all at once", "update.parallelism", 0],
  ["update-delay", "0", "takes", "update.delayMs", 0],
  ["update-monitor", "0s", "takes", "update.monitorMs", 0],
  ["update-max-failure-ratio", ".5", "takes", "update.maxFailureRatio", 0.5],
  ["update-failure-action", "rollback", "takes", "update.failureAction", UpdateConfig_FailureAction.ROLLBACK],
  ["rollback-parallelism", "0", "all at once", "rollback.parallelism", 0],
  ["rollback-delay", "0", "takes", "rollback.delayMs", 0],
  ["rollback-monitor", "0s", "takes", "rollback.monitorMs", 0],
  ["rollback-max-failure-ratio", "1.0", "takes", "rollback.maxFailureRatio", 1],
  ["read-only", false, "off", `${c}.readOnlyRoot`, false],
  ["no-new-privileges", true, "takes", `${c}.noNewPrivileges`, true],
  ["init", true, "takes", `${c}.init`, true],
  ["tty", false, "off", `${c}.tty`, false],
];

test.for(taken)("--%s %j, with which Docker %s", ([flag, typed, , path, expected]) => {
  const made = outcome({ [flag]: typed });
  expect(typeof made === "string" ? made : at(made, path)).toEqual(expected);
});

/** Flag, what is typed, what Docker does, our refusal. */
const refused: readonly (readonly [string, unknown, string, RegExp])[] = [
  ["image", "", "refuses", /--image: /],
  ["image", "A b", "refuses", /--image: /],
  ["entrypoint", "echo 'open", "refuses", /a quote is open/],
  ["env", [""], "refuses", /want NAME=VALUE/],
  ["env", ["=x"], "refuses", /want NAME=VALUE/],
  ["env", ["WARREN_NOT_SET"], "leaves it out", /WARREN_NOT_SET is not set here: give WARREN_NOT_SET=VALUE/],
  ["env", ["a b=1"], "takes; refuses it in files", /no white space/],
  ["env", ["__proto__=1"], "takes", /--env: '__proto__' can't be a name here/],
  ["env", ["A={{.Task.Slot}}"], "fills it in", /templates are not filled in here/],
  ["env-file", ["/nowhere"], "refuses", /--env-file: can't read \/nowhere: there is no such file/],
  ["env-file", [tmpdir()], "refuses", /it is a directory/],
  ["workdir", "srv", "refuses", /--workdir: .*absolute/],
  ["user", "a:b:c", "refuses at the start", /--user: .*USER:GROUP/],
  ["group", ["a b"], "refuses at the start", /--group: /],
  ["hostname", "a_b c", "refuses", /--hostname: /],
  ["hostname", "{{.Node.Hostname}}", "fills it in", /templates are not filled in here/],
  ["label", [""], "takes nothing", /want KEY=VALUE/],
  ["label", ["=x"], "refuses", /want KEY=VALUE/],
  ["label", ["__proto__=1"], "takes", /can't be a name here/],
  ["container-label", ["__proto__=1"], "takes", /can't be a name here/],
  ["mount", ["type=bind,src=/a"], "refuses", /where to\? add dst=/],
  ["mount", ["type=bind,src=a,dst=/b"], "refuses", /a bind needs src=\/PATH/],
  ["mount", ["src=/a,dst=/b"], "refuses", /give type=bind/],
  ["mount", ["dst=/b"], "an anonymous volume", /which volume\? add src=NAME/],
  ["mount", ["src=a,dst=/b,ro=maybe"], "refuses", /readonly is true or false, not 'maybe'/],
  ["mount", ["src=a,source=b,dst=/b"], "the last holds", /says src twice/],
  ["mount", ["src=a,dst=/x", "src=b,dst=/x/"], "refuses", /contradict each other: both are for the path \/x/],
  ["mount", ["src=a,dst=/x,volume-driver=x"], "takes", /'volume-driver=x' in .*: want type, src/],
  ["mount", ["type=tmpfs,dst=/t,size=0.1"], "no limit", /whole number of bytes/],
  ["mount", ['src=a,"dst=/x'], "refuses", /a quote is open/],
  ["mount", ["src=a,dst=relative"], "refuses", /--mount: .*absolute/],
  ["stop-signal", "SIGNOTHING", "refuses", /--stop-signal: .*not a signal/],
  ["stop-grace", "10", "refuses", /'10' has no unit: did you mean 10s\?/],
  ["stop-grace", "-1s", "refuses", /not a duration/],
  ["stop-grace", "0.1ms", "none", /too short: the least is 1ms/],
  ["stop-grace", "25h", "takes", /too long: the most is 24h/],
  ["registry-login", "a b", "–", /--registry-login: /],
  ["limit-cpu", "0.001", "takes", /too little \(least 0\.01 of a processor, or 0 for none\)/],
  ["limit-cpu", "-1", "refuses", /not a number of processors/],
  ["limit-cpu", "0.0000000001", "refuses", /not a number of processors/],
  ["limit-memory", "0.1", "no limit", /not a whole number of bytes: did you mean 0\.1g\?/],
  ["limit-memory", "64", "refuses", /'64' is too little \(least 512 KiB, or 0 for none\); did you mean 64m\?/],
  ["limit-memory", "0.0001k", "no limit", /less than a byte/],
  ["limit-memory", "-1", "no limit", /not a size/],
  ["limit-memory", "64x", "refuses", /not a size/],
  ["limit-pids", "-2", "refuses", /not a whole number/],
  ["limit-pids", "5000000", "takes", /give 1 to 4,194,304/],
  ["reserve-cpu", "x", "refuses", /not a number of processors/],
  ["reserve-memory", "0.1", "nothing", /whole number of bytes/],
  ["ulimit", ["nofile=2:1"], "refuses", /the soft limit is above the hard one/],
  ["ulimit", ["nofile=1:2:3"], "refuses", /want NAME=SOFT/],
  ["ulimit", ["nothing=1"], "refuses", /--ulimit: /],
  ["cap-add", ["NOTHING"], "refuses", /--cap-add: /],
  ["cap-drop", ["NOTHING"], "refuses", /--cap-drop: /],
  ["sysctl", ["net.a"], "refuses", /want KEY=VALUE/],
  ["sysctl", ["kernel.panic=1"], "refuses", /--sysctl kernel\.panic: /],
  ["device", ["null"], "refuses at the start", /--device: .*absolute/],
  ["device", ["/dev/null:/a", "/dev/zero:/a"], "refuses at the start", /contradict each other/],
  ["health-http", "/x", "–", /want PORT or PORT\/PATH/],
  ["health-http", "0/", "–", /not a port/],
  ["health-tcp", "65536", "–", /not a port/],
  ["health-cmd", " ", "none", /a command is required/],
  ["health-interval", "0", "the default", /the least is 1ms/],
  ["health-timeout", "0s", "the default", /the least is 1ms/],
  ["health-retries", "0", "the default", /give 1 to 100/],
  ["health-retries", "-1", "refuses", /not a whole number/],
  ["health-start-period", "5", "refuses", /did you mean 5s/],
  ["publish", ["80:80", "80:81"], "refuses", /contradict each other: both are for port 80\/tcp of the node/],
  ["publish", ["80:80", "published=80,target=80,mode=host"], "refuses", /contradict each other/],
  ["publish", ["127.0.0.1:80:80"], "refuses", /on every address of the node; leave the address out/],
  ["publish", ["80:80/sctp"], "takes", /protocol is tcp or udp/],
  ["publish", ["8000-8002:80-81"], "refuses", /both ranges have as many ports/],
  ["publish", ["81-80:81-80"], "refuses", /is a port from/],
  ["publish", ["70000:80"], "refuses", /to 65535/],
  ["publish", ["target=80,target=81"], "the last holds", /says target twice/],
  ["publish", [""], "refuses", /--publish: /],
  ["network", [""], "refuses", /--network: /],
  ["network", ["a,alias=b", "a,alias=c"], "refuses", /contradict each other: both are for the network a/],
  ["network", ["a,driver-opt=x=y"], "takes", /want alias=NAME/],
  ["add-host", ["a"], "refuses", /want NAME:ADDRESS/],
  ["add-host", ["a:10.0.0.1", "a:10.0.0.2"], "both", /contradict each other: both are for the host a/],
  ["add-host", ["a:host-gateway"], "the gateway", /no host-gateway here/],
  ["add-host", ["a:b"], "refuses", /--add-host a: .*not an IP address/],
  ["dns", ["example"], "refuses", /--dns: /],
  ["dns-search", ["a b"], "refuses", /--dns-search: /],
  ["dns-option", ["a b"], "takes", /--dns-option: /],
  ["constraint", [" "], "refuses", /--constraint: /],
  ["max-replicas-per-node", "-1", "refuses", /not a whole number/],
  ["restart-delay", "25h", "takes", /too long/],
  ["restart-max-attempts", "1.5", "refuses", /not a whole number/],
  ["restart-window", "31d", "takes", /the most is 30d/],
  ["log-max-size", "0", "refuses", /least 4 KiB/],
  ["log-max-files", "0", "refuses", /give 1 to/],
  ...(["update", "rollback"] as const).flatMap((name) => [
    [`${name}-parallelism`, "-1", "refuses", /not a whole number/] as const,
    [`${name}-delay`, "1", "refuses", /did you mean 1s/] as const,
    [`${name}-monitor`, "x", "refuses", /not a duration/] as const,
    [`${name}-max-failure-ratio`, "1.1", "refuses", /give 0 to 1/] as const,
  ]),
];

test.for(refused)("--%s %j, with which Docker %s, is refused with what to do", ([flag, typed, , why]) => {
  const made = outcome({
    [flag]: typed,
    ...(flag.startsWith("health-") && isTime(flag) ? { "health-tcp": "80" } : {}),
  });
  expect(typeof made === "string" ? made : `taken: ${JSON.stringify(made)}`).toMatch(why);
  expect(made).toMatch(new RegExp(`^--${flag}\\b`));
});

function isTime(flag: string): boolean {
  return !["health-http", "health-tcp", "health-cmd"].includes(flag);
}

test("every flag whose text is free stands in both tables", () => {
  const free = Object.entries(serviceFlags)
    .filter(([, flag]) => flag.type === "option" && (flag as { options?: unknown }).options === undefined)
    .map(([name]) => name);
  const inTaken = new Set(taken.map(([flag]) => flag));
  const inRefused = new Set(refused.map(([flag]) => flag));
  // An env-file's text has a table of its own; times of health checks are taken with a probe, below.
  const elsewhere = ["env-file", "health-interval", "health-timeout", "health-retries", "health-start-period"];
  expect(free.filter((name) => !inTaken.has(name) && !elsewhere.includes(name))).toEqual([]);
  expect(free.filter((name) => !inRefused.has(name))).toEqual([]);
});

test.for([
  [{ "health-http": "80/", "health-cmd": "true" }, /--health-cmd: --health-http is given too/],
  [{ "health-tcp": "80", "health-http": "80" }, /--health-tcp: --health-http is given too/],
  [{ "health-interval": "1s" }, /--health-interval: there is no health check; add --health-http/],
  [{ "health-cmd": "true", "no-healthcheck": true }, /--health-cmd asks for a health check: give one of them/],
  [{ "cap-add": ["NET_ADMIN"], "cap-drop": ["cap_net_admin"] }, /contradict.*capability NET_ADMIN/],
  [{ "limit-memory": "32m", "reserve-memory": "64m" }, /--reserve-memory: 64 MiB is more than --limit-memory/],
  [{ "limit-cpu": "1", "reserve-cpu": "2" }, /--reserve-cpu: 2 is more than --limit-cpu, which is 1/],
] as const)("%j contradict each other and are refused", ([flags, why]) => {
  expect(outcome(flags)).toMatch(why);
});

test.for([
  ["health-interval", "1s", "intervalMs", 1_000],
  ["health-timeout", "1m", "timeoutMs", 60_000],
  ["health-retries", "1", "retries", 1],
  ["health-start-period", "0", "startPeriodMs", 0],
] as const)("--%s %s goes with a health check", ([flag, typed, field, expected]) => {
  expect(at(outcome({ [flag]: typed, "health-tcp": "80" }), `${c}.healthCheck.${field}`)).toBe(expected);
});

test("ALL dropped and one added is how Docker's users say these and no other", () => {
  expect(at(outcome({ "cap-add": ["NET_ADMIN"], "cap-drop": ["ALL"] }), `${c}.capabilityAdd`)).toEqual(["NET_ADMIN"]);
});

describe("an update, as Docker's", () => {
  const before = applyServiceFlags(
    blank,
    {
      publish: ["8080:80", "53:53/udp"],
      "cap-add": ["NET_ADMIN"],
      dns: ["10.0.0.1"],
      group: ["20"],
      "health-cmd": "true",
    },
    undefined,
  );
  test("adds a port beside another that leads to the same place, and moves one that is given again", () => {
    expect(at(outcome({ publish: ["9090:80"] }, before), "ports.length")).toBe(3);
    expect(at(outcome({ publish: ["8080:81"] }, before), "ports.0.target")).toBe(81);
  });
  test.for([
    ["publish-rm", "80", "ports.length", 1],
    ["publish-rm", "8080:80", "ports.length", 1],
    ["publish-rm", "53/udp", "ports.length", 1],
    ["cap-add-rm", "cap_net_admin", `${c}.capabilityAdd`, []],
    ["dns-rm", "10.0.0.1", `${c}.dns.servers`, []],
    ["group-rm", "20", `${c}.groups`, []],
  ] as const)("--%s %s takes away", ([flag, key, path, left]) => {
    expect(at(outcome({ [flag]: [key] }, before), path)).toEqual(left);
  });
  test("--no-healthcheck makes none, of the service's or of its image, until another is named", () => {
    const none = outcome({ "no-healthcheck": true }, before);
    expect(at(none, `${c}.healthCheck.probe`)).toEqual({ $case: "none", value: {} });
  });
});

describe("an env file", () => {
  test.for([
    ["A=b # c", "# is part of a value", { A: "b # c" }],
    ["# A=b\n  # c\n\nB=1", "# begins a comment, spaces before it or not", { B: "1" }],
    [`A="b"\nB='c d'`, "quotes are part of a value", { A: '"b"', B: "'c d'" }],
    ["A=\nB==", "a value may be empty, or hold =", { A: "", B: "=" }],
    ["  A= b ", "spaces before the name go, those of the value stay", { A: " b " }],
    ["\uFEFFA=1\r\nB=2\r\n", "a byte order mark and carriage returns go", { A: "1", B: "2" }],
    ["A=$B ${C}", "nothing is expanded", { A: "$B ${C}" }],
    ["A=1\nA=2", "the last holds", { A: "2" }],
    ["a.b-c=1", "a name is nearly anything", { "a.b-c": "1" }],
    ["HERE", "a bare name passes on the value from here", { HERE: "here" }],
  ] as const)("%j: %s", ([text, , expected]) => {
    expect(Object.fromEntries(parseEnvFile(text, { HERE: "here" }))).toEqual(expected);
  });
  test.for([
    ["A=1\nNOT_HERE", /line 2: NOT_HERE is not set here/],
    ["=x", /line 1: '=x': want NAME=VALUE/],
    ["A B=1", /line 1: 'A B': a variable's name has no white space/],
    ["export A=1", /white space/],
  ] as const)("%j is refused with its line", ([text, why]) => {
    expect(() => parseEnvFile(text, {})).toThrow(why);
  });
  test("that is no text is refused by its name", () => {
    const file = join(mkdtempSync(join(tmpdir(), "env-")), "env");
    writeFileSync(file, Buffer.from([0x41, 0x3d, 0xff, 0xfe]));
    expect(outcome({ "env-file": [file] })).toBe(`--env-file: ${file} is not text in UTF-8`);
  });
});

test("a service is scaled to one number, however often it is named", () => {
  expect(parseScales(["web=5", "db=1", "web=5"])).toEqual([
    { ref: "web", replicas: 5 },
    { ref: "db", replicas: 1 },
  ]);
  expect(() => parseScales(["web=5", "web=3"])).toThrow("'web=5' and 'web=3' contradict each other");
  for (const text of ["web", "web=", "=3", "web=-1", "web=1.5"])
    expect(() => parseScales([text])).toThrow("want SERVICE=REPLICAS");
});
