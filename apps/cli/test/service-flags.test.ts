import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  ContainerSpec,
  PortSpec_Mode,
  PortSpec_Protocol,
  RestartPolicy_Condition,
  ServiceSpec,
  UpdateConfig_FailureAction,
  UpdateConfig_Order,
} from "@warren/api";
import { describe, expect, test } from "vitest";
import { parsePorts, splitWords } from "../src/service/flag-syntax.ts";
import { applyServiceFlags, removalFlags, serviceFlags } from "../src/service/service-flags.ts";

const blank = ServiceSpec.fromPartial({ name: "web" });

function valueAt(spec: unknown, path: string): unknown {
  return path.split(".").reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], spec);
}

/** Flag, what is typed, where it arrives, as what. Every flag stands here, and the test below it makes sure. */
const rows: readonly (readonly [string, string | boolean | string[], string, unknown])[] = [
  ["image", "nginx:1", "task.container.image", "nginx:1"],
  ["entrypoint", `sh -c "echo 'a b'"`, "task.container.command", ["sh", "-c", "echo 'a b'"]],
  ["env", ["A=1", "B=x=y", "C="], "task.container.env", { A: "1", B: "x=y", C: "" }],
  ["workdir", "/srv", "task.container.workingDir", "/srv"],
  ["user", "app:app", "task.container.user", "app:app"],
  ["group", ["audio", "20"], "task.container.groups", ["audio", "20"]],
  ["hostname", "h", "task.container.hostname", "h"],
  ["label", ["tier=front"], "labels", { tier: "front" }],
  ["container-label", ["a=b"], "task.container.labels", { a: "b" }],
  [
    "mount",
    ["type=bind,src=/etc,dst=/host,ro", "src=data,dst=/data", "type=tmpfs,dst=/tmp,size=64m,mode=1770"],
    "task.container.mounts",
    [
      { source: { $case: "bind", value: { path: "/etc" } }, target: "/host", readOnly: true },
      { source: { $case: "volume", value: { name: "data" } }, target: "/data", readOnly: false },
      { source: { $case: "tmpfs", value: { sizeBytes: 67_108_864, mode: 0o1770 } }, target: "/tmp", readOnly: false },
    ],
  ],
  ["stop-signal", "INT", "task.container.stopSignal", "INT"],
  ["stop-grace", "30s", "task.container.stopGraceMs", 30_000],
  ["registry-login", "registry.example", "task.registryLogin", "registry.example"],
  ["limit-cpu", "0.5", "task.resources.cpuLimitNanos", 500_000_000],
  ["limit-memory", "64m", "task.resources.memoryLimitBytes", 67_108_864],
  ["limit-pids", "50", "task.resources.pidsLimit", 50],
  ["reserve-cpu", "1", "task.resources.cpuReservationNanos", 1_000_000_000],
  ["reserve-memory", "32m", "task.resources.memoryReservationBytes", 33_554_432],
  [
    "ulimit",
    ["nofile=10:20", "core=unlimited"],
    "task.container.ulimits",
    [
      { name: "nofile", soft: 10, hard: 20 },
      { name: "core", soft: -1, hard: -1 },
    ],
  ],
  ["cap-add", ["NET_ADMIN"], "task.container.capabilityAdd", ["NET_ADMIN"]],
  ["cap-drop", ["ALL"], "task.container.capabilityDrop", ["ALL"]],
  ["sysctl", ["net.core.somaxconn=9"], "task.container.sysctls", { "net.core.somaxconn": "9" }],
  [
    "device",
    ["/dev/null:/dev/x:r"],
    "task.container.devices",
    [{ source: "/dev/null", target: "/dev/x", permissions: "r" }],
  ],
  ["health-http", "80/live", "task.container.healthCheck.probe", { $case: "http", value: { port: 80, path: "/live" } }],
  ["health-tcp", "5432", "task.container.healthCheck.probe", { $case: "tcp", value: { port: 5_432 } }],
  [
    "health-cmd",
    "test -f /ok",
    "task.container.healthCheck.probe",
    { $case: "exec", value: { command: ["/bin/sh", "-c", "test -f /ok"] } },
  ],
  [
    "publish",
    ["8080:80", "53/udp"],
    "ports",
    [
      { target: 80, published: 8_080, protocol: PortSpec_Protocol.TCP, mode: PortSpec_Mode.INGRESS },
      { target: 53, published: 0, protocol: PortSpec_Protocol.UDP, mode: PortSpec_Mode.INGRESS },
    ],
  ],
  ["network", ["back,alias=db,alias=sql"], "task.networks", [{ network: "back", aliases: ["db", "sql"] }]],
  ["add-host", ["a:10.0.0.1", "b:fd00::1"], "task.container.extraHosts", { a: "10.0.0.1", b: "fd00::1" }],
  ["dns", ["10.0.0.2"], "task.container.dns.servers", ["10.0.0.2"]],
  ["dns-search", ["example"], "task.container.dns.search", ["example"]],
  ["dns-option", ["ndots:2"], "task.container.dns.options", ["ndots:2"]],
  ["constraint", ["node.labels.zone == north"], "task.placement.constraints", ["node.labels.zone == north"]],
  ["max-replicas-per-node", "2", "task.placement.maxReplicasPerNode", 2],
  ["restart-condition", "on-failure", "task.restart.condition", RestartPolicy_Condition.ON_FAILURE],
  ["restart-delay", "0", "task.restart.delayMs", 0],
  ["restart-max-attempts", "3", "task.restart.maxAttempts", 3],
  ["restart-window", "1m", "task.restart.windowMs", 60_000],
  ["log-max-size", "1m", "task.container.logRotation.maxFileBytes", 1_048_576],
  ["log-max-files", "2", "task.container.logRotation.maxFiles", 2],
  ["read-only", true, "task.container.readOnlyRoot", true],
  ["no-new-privileges", true, "task.container.noNewPrivileges", true],
  ["init", true, "task.container.init", true],
  ["tty", true, "task.container.tty", true],
  ...(["update", "rollback"] as const).flatMap((name) => [
    [`${name}-parallelism`, "0", `${name}.parallelism`, 0] as const,
    [`${name}-delay`, "1s", `${name}.delayMs`, 1_000] as const,
    [`${name}-order`, "start-first", `${name}.order`, UpdateConfig_Order.START_FIRST] as const,
    [`${name}-failure-action`, "continue", `${name}.failureAction`, UpdateConfig_FailureAction.CONTINUE] as const,
    [`${name}-monitor`, "2s", `${name}.monitorMs`, 2_000] as const,
    [`${name}-max-failure-ratio`, "0.25", `${name}.maxFailureRatio`, 0.25] as const,
  ]),
];

/** Those that need a health check beside them. */
const times: typeof rows = [
  ["health-interval", "1s", "task.container.healthCheck.intervalMs", 1_000],
  ["health-timeout", "2s", "task.container.healthCheck.timeoutMs", 2_000],
  ["health-retries", "4", "task.container.healthCheck.retries", 4],
  ["health-start-period", "5s", "task.container.healthCheck.startPeriodMs", 5_000],
];

test.for(times)("--%s %s sets %s of a health check", ([flag, typed, path, expected]) => {
  expect(valueAt(applyServiceFlags(blank, { [flag]: typed, "health-tcp": "80" }, undefined), path)).toEqual(expected);
});

test.for(rows)("--%s %s sets %s", ([flag, typed, path, expected]) => {
  expect(valueAt(applyServiceFlags(blank, { [flag]: typed }, undefined), path)).toEqual(expected);
});

test("every flag but env-file is in the table", () => {
  const listed = new Set([...rows, ...times].map(([flag]) => flag));
  expect(Object.keys(serviceFlags).filter((flag) => !listed.has(flag))).toEqual(["env-file"]);
});

test("every field of a container can be set by a flag, or by what stands after --", () => {
  const reached = rows.map(([, , path]) => /^task\.container\.(\w+)/.exec(path)?.[1]);
  const missing = Object.keys(ContainerSpec.create({})).filter((field) => !reached.includes(field));
  expect(missing).toEqual(["args"]);
  expect(applyServiceFlags(blank, {}, ["-x", ""]).task?.container?.args).toEqual(["-x", ""]);
});

describe("env", () => {
  test("a file's lines give way to what is given one by one", () => {
    const file = join(mkdtempSync(join(tmpdir(), "env-")), "env");
    writeFileSync(file, "# comment\nA=file\nB=two words\n");
    const spec = applyServiceFlags(blank, { env: ["A=flag"], "env-file": [file] }, undefined);
    expect(spec.task?.container?.env).toEqual({ A: "flag", B: "two words" });
  });

  test("a bare name passes on the caller's value, and is refused where there is none", () => {
    process.env["WARREN_TEST_ENV"] = "here";
    expect(applyServiceFlags(blank, { env: ["WARREN_TEST_ENV"] }, undefined).task?.container?.env).toEqual({
      WARREN_TEST_ENV: "here",
    });
    expect(() => applyServiceFlags(blank, { env: ["WARREN_NOT_SET"] }, undefined)).toThrow(
      "--env: WARREN_NOT_SET is not set here",
    );
  });
});

describe("an update", () => {
  const before = applyServiceFlags(
    blank,
    {
      image: "a",
      env: ["A=1", "B=2"],
      publish: ["8080:80"],
      mount: ["src=data,dst=/data"],
      network: ["back"],
      label: ["x=y"],
    },
    ["old"],
  );

  test("leaves alone what no flag names", () => {
    expect(applyServiceFlags(before, {}, undefined)).toEqual(before);
  });

  test("replaces by key and adds", () => {
    const after = applyServiceFlags(before, { env: ["B=3", "C=4"], publish: ["9090:80"], image: "b" }, undefined);
    expect(after.task?.container?.env).toEqual({ A: "1", B: "3", C: "4" });
    expect(after.ports.map(({ published }) => published)).toEqual([8_080, 9_090]);
    expect(after.task?.container?.args).toEqual(["old"]);
    expect(before.task?.container?.image).toBe("a");
  });

  test("takes away by key", () => {
    const gone = {
      "env-rm": ["A"],
      "publish-rm": ["80"],
      "mount-rm": ["/data"],
      "network-rm": ["back"],
      "label-rm": ["x"],
    };
    const after = applyServiceFlags(before, gone, undefined);
    expect(after.task?.container).toMatchObject({ env: { B: "2" }, mounts: [] });
    expect(after).toMatchObject({ ports: [], labels: {} });
    expect(after.task?.networks).toEqual([]);
  });

  test.for(Object.keys(removalFlags))("--%s refuses what is not there", (flag) => {
    expect(() => applyServiceFlags(before, { [flag]: ["nothing"] }, undefined)).toThrow(
      `--${flag}: the service has no 'nothing'`,
    );
  });
});

test.for([
  ["limit-cpu", "half"],
  ["limit-memory", "lots"],
  ["stop-grace", "10"],
  ["mount", ["type=nfs,dst=/x"]],
  ["mount", ["type=bind,size=1m,src=/x,dst=/y"]],
  ["mount", ["type=tmpfs,src=/x,dst=/y"]],
  ["mount", ["colour=red"]],
  ["publish", ["80:80:80"]],
  ["publish", ["0:70000"]],
  ["publish", ["80/sctp"]],
  ["publish", ["target=80,mode=everywhere"]],
  ["ulimit", ["nofile"]],
  ["ulimit", ["nofile=many"]],
  ["device", [""]],
  ["env", ["=x"]],
  ["label", ["=x"]],
  ["network", ["a,b=c"]],
  ["add-host", ["a"]],
  ["health-http", "/x"],
  ["health-tcp", "0"],
  ["health-retries", "-1"],
  ["entrypoint", "echo 'open"],
  ["update-max-failure-ratio", "2"],
] as const)("--%s %s is refused with the flag's name", ([flag, typed]) => {
  expect(() => applyServiceFlags(blank, { [flag]: typed }, undefined)).toThrow(`--${flag}: `);
});

test.for([
  ["a b", ["a", "b"]],
  ["  a\t b ", ["a", "b"]],
  [`'a b' "c d"`, ["a b", "c d"]],
  [`a\\ b "c\\"d" 'e\\f'`, ["a b", `c"d`, "e\\f"]],
  [`x""y ''`, ["xy", ""]],
  ["", []],
] as const)("%s splits as a shell does", ([text, words]) => {
  expect(splitWords(text)).toEqual(words);
});

test("a port's long form says all", () => {
  expect(parsePorts("published=53,target=5353,protocol=udp,mode=host")).toEqual([
    { published: 53, target: 5_353, protocol: PortSpec_Protocol.UDP, mode: PortSpec_Mode.HOST },
  ]);
});
