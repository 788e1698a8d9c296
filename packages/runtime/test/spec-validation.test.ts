import { expect, test } from "vitest";
import { checkContainerSpec, signalNumber, stopSignalNumber, type ContainerSpec } from "../src/index.ts";

const bad: readonly [field: string, spec: Partial<ContainerSpec>][] = [
  ["id", { id: "Upper" }],
  ["id", { id: "-a" }],
  ["id", { id: "a".repeat(77) }],
  ["args", { args: ["a\0b"] }],
  ["env", { env: { "A=B": "c" } }],
  ["workingDir", { workingDir: "relative" }],
  ["workingDir", { workingDir: "/a/../b" }],
  ["stopSignal", { stopSignal: "SIGWHAT" }],
  ["ulimits", { ulimits: [{ name: "files", soft: 1, hard: 1 }] }],
  ["ulimits", { ulimits: [{ name: "nofile", soft: 2, hard: 1 }] }],
  ["ulimits", { ulimits: [{ name: "nofile", soft: -1, hard: 5 }] }],
  ["hostname", { hostname: "a b" }],
  ["hostname", { hostname: "a".repeat(64) }],
  ["extraHosts", { extraHosts: { "a\nb": "10.0.0.1" } }],
  ["extraHosts", { extraHosts: { a: "10.0.0.1\n10.0.0.2 b" } }],
  ["dns.servers", { dns: { servers: ["ns.test"] } }],
  ["dns.search", { dns: { servers: [], search: ["a\nnameserver 10.0.0.1"] } }],
  ["dns.options", { dns: { servers: [], options: ["ndots:1 x"] } }],
  ["labels", { labels: { "": "x" } }],
  ["labels", { labels: { a: "x".repeat(5000) } }],
  ["resources.cpuLimit", { resources: { cpuLimit: 0 } }],
  ["resources.pidsLimit", { resources: { pidsLimit: 1.5 } }],
  ["resources.memoryLimitBytes", { resources: { memoryLimitBytes: 1024 } }],
  ["resources.memoryReservationBytes", { resources: { memoryLimitBytes: 1 << 20, memoryReservationBytes: 2 << 20 } }],
  ["mounts", { mounts: [{ kind: "bind", source: "x", target: "/x" }] }],
  ["mounts", { mounts: [{ kind: "bind", source: "/x", target: "/" }] }],
  ["mounts", { mounts: [{ kind: "tmpfs", target: "/../x" }] }],
  ["mounts", { mounts: [{ kind: "tmpfs", target: "/x", sizeBytes: 0 }] }],
  [
    "mounts",
    {
      mounts: [
        { kind: "tmpfs", target: "/x" },
        { kind: "tmpfs", target: "/x" },
      ],
    },
  ],
  ["devices", { devices: [{ source: "null" }] }],
  ["devices", { devices: [{ source: "/dev/null", permissions: "rr" }] }],
  ["log.fileBytes", { log: { fileBytes: 1 } }],
  ["log.files", { log: { files: 0 } }],
];
test.each(bad)("%s is refused: %j", (field, spec) => {
  expect(() => checkContainerSpec({ id: "a", image: "box", ...spec })).toThrow(
    expect.objectContaining({ failure: { code: "RUNTIME_SPEC_INVALID", field } }),
  );
});

test("specs that Docker accepts are accepted", () => {
  checkContainerSpec({
    id: "web-1",
    image: "box",
    command: ["sh"],
    env: { "a.b": "", PATH: "/bin=x" },
    hostname: "web.1",
    ulimits: [{ name: "core", soft: 0, hard: -1 }],
    extraHosts: { my_friend: "::1" },
    dns: { servers: ["169.254.1.1", "fd00::1"], search: [".", "warren."], options: ["ndots:1", "use-vc"] },
    devices: [{ source: "/dev/null", permissions: "rw" }],
    resources: { cpuLimit: 0.1, memoryLimitBytes: 1 << 24, memoryReservationBytes: 1 << 23, pidsLimit: 10 },
    log: { fileBytes: 4096, files: 2 },
  });
});

test("a signal is a name, with or without SIG, or a number", () => {
  expect([signalNumber("TERM"), signalNumber("sigusr1"), signalNumber("9")]).toEqual([15, 10, 9]);
  for (const none of ["65", "0", "", "SIG", "__proto__", "constructor", "RTMIN+31", "RTMAX-31", "RTMAX+1", "TERM\0"])
    expect(() => signalNumber(none), none).toThrow(expect.objectContaining({ code: "RUNTIME_SPEC_INVALID" }));
});

test("real-time signals are named from either end, as images of systemd do", () => {
  const names = ["SIGRTMIN", "SIGRTMIN+3", "rtmin+0", "RTMIN+30", "SIGRTMAX", "RTMAX-14"];
  expect(names.map((name) => signalNumber(name))).toEqual([34, 37, 34, 64, 64, 50]);
});

test("the stop signal is the spec's, else the image's if it is one, else SIGTERM", () => {
  expect(stopSignalNumber("USR2", "SIGRTMIN+3")).toBe(12);
  expect(stopSignalNumber(undefined, "SIGRTMIN+3")).toBe(37);
  for (const none of [undefined, "", "SIGNONSENSE", "0", "-9", "x".repeat(10_000)])
    expect(stopSignalNumber(undefined, none)).toBe(15);
  expect(() => stopSignalNumber("SIGNONSENSE", "TERM")).toThrow("stopSignal");
});
