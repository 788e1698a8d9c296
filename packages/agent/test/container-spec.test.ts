import { ContainerSpec, Resources } from "@warren/api";
import type { ContainerSpec as RuntimeSpec } from "@warren/runtime";
import { expect, test } from "vitest";
import { image, World } from "./fakes/world.ts";

type Given = Parameters<typeof ContainerSpec.fromPartial>[0];
type Limits = Parameters<typeof Resources.fromPartial>[0];

const tmpfs = (value: { sizeBytes?: number; mode?: number }): Given => ({
  mounts: [{ source: { $case: "tmpfs", value }, target: "/t" }],
});

const ours = {
  "warren.service": "svc",
  "warren.service-name": "web",
  "warren.slot": "1",
  "warren.slot-id": "svc.1",
  "warren.epoch": "7-1",
  "warren.life": "0",
  "warren.run": "1",
  "warren.version": "version-svc.1-1",
  "warren.address": "10.77.1.2",
  "warren.networks": "net",
  "warren.boot": "boot-1",
  "warren.incarnation": "1/first",
  "warren.name-servers": "",
};

/** Fields of the task's spec, and the expected fields of the runtime's, beside the defaults. */
const fields: readonly (readonly [
  field: keyof ContainerSpec | keyof Resources,
  given: Given,
  Limits,
  Partial<RuntimeSpec>,
])[] = [
  ["image", { image: "registry.example/web:1" }, {}, { image: "registry.example/web:1" }],
  ["command", { command: ["a", "b"] }, {}, { command: ["a", "b"] }],
  ["args", { args: ["c"] }, {}, { args: ["c"] }],
  ["env", { env: { A: "1", EMPTY: "" } }, {}, { env: { A: "1", EMPTY: "" } }],
  ["workingDir", { workingDir: "/srv" }, {}, { workingDir: "/srv" }],
  ["user", { user: "1000:1000" }, {}, { user: "1000:1000" }],
  ["groups", { groups: ["dialout", "20"] }, {}, { groups: ["dialout", "20"] }],
  ["hostname", { hostname: "here" }, {}, { hostname: "here" }],
  ["readOnlyRoot", { readOnlyRoot: true }, {}, { readOnlyRoot: true }],
  ["capabilityAdd", { capabilityAdd: ["NET_ADMIN"] }, {}, { capabilityAdd: ["NET_ADMIN"] }],
  ["capabilityDrop", { capabilityDrop: ["ALL"] }, {}, { capabilityDrop: ["ALL"] }],
  ["sysctls", { sysctls: { "net.core.somaxconn": "1024" } }, {}, { sysctls: { "net.core.somaxconn": "1024" } }],
  [
    "ulimits",
    { ulimits: [{ name: "nofile", soft: 10, hard: -1 }] },
    {},
    { ulimits: [{ name: "nofile", soft: 10, hard: -1 }] },
  ],
  [
    "devices",
    { devices: [{ source: "/dev/a" }, { source: "/dev/b", target: "/dev/c", permissions: "r" }] },
    {},
    { devices: [{ source: "/dev/a" }, { source: "/dev/b", target: "/dev/c", permissions: "r" }] },
  ],
  ["extraHosts", { extraHosts: { db: "10.0.0.1" } }, {}, { extraHosts: { db: "10.0.0.1" } }],
  [
    "dns",
    { dns: { servers: ["9.9.9.9"], search: ["lan"], options: ["ndots:2"] } },
    {},
    {
      dns: { servers: ["169.254.1.1"], search: ["warren", "lan"], options: ["ndots:2"] },
      labels: { ...ours, "warren.name-servers": "9.9.9.9" },
    },
  ],
  ["init", { init: true }, {}, { init: true }],
  ["tty", { tty: true }, {}, { tty: true }],
  ["noNewPrivileges", { noNewPrivileges: true }, {}, { noNewPrivileges: true }],
  ["stopSignal", { stopSignal: "SIGINT" }, {}, { stopSignal: "SIGINT" }],
  ["logRotation", { logRotation: { maxFileBytes: 5_000 } }, {}, { log: { fileBytes: 5_000, files: 5 } }],
  ["logRotation", { logRotation: { maxFiles: 2 } }, {}, { log: { fileBytes: 10 * 2 ** 20, files: 2 } }],
  ["mounts", tmpfs({}), {}, { mounts: [{ kind: "tmpfs", target: "/t", mode: 0o1777 }] }],
  [
    "mounts",
    tmpfs({ sizeBytes: 4096, mode: 0o700 }),
    {},
    { mounts: [{ kind: "tmpfs", target: "/t", sizeBytes: 4096, mode: 0o700 }] },
  ],
  [
    "mounts",
    { mounts: [{ source: { $case: "bind", value: { path: "/proc" } }, target: "/b", readOnly: true }] },
    {},
    { mounts: [{ kind: "bind", source: "/proc", target: "/b", readOnly: true }] },
  ],
  ["cpuLimitNanos", {}, { cpuLimitNanos: 500_000_000 }, { resources: { cpuLimit: 0.5 } }],
  ["cpuReservationNanos", {}, { cpuReservationNanos: 2_000_000_000 }, { resources: { cpuReservation: 2 } }],
  ["memoryLimitBytes", {}, { memoryLimitBytes: 2 ** 25 }, { resources: { memoryLimitBytes: 2 ** 25 } }],
  [
    "memoryReservationBytes",
    {},
    { memoryReservationBytes: 2 ** 24 },
    { resources: { memoryReservationBytes: 2 ** 24 } },
  ],
  ["pidsLimit", {}, { pidsLimit: 50 }, { resources: { pidsLimit: 50 } }],
  ["pidsLimit", {}, { pidsLimit: -1 }, { resources: { pidsLimit: -1 } }],
];
const defaults: RuntimeSpec = {
  id: "",
  image,
  env: {},
  groups: [],
  resources: {},
  mounts: [],
  readOnlyRoot: false,
  capabilityAdd: [],
  capabilityDrop: [],
  sysctls: {},
  ulimits: [],
  devices: [],
  extraHosts: {},
  dns: { servers: ["169.254.1.1"], search: [], options: [] },
  init: false,
  tty: false,
  noNewPrivileges: false,
  log: { fileBytes: 10 * 2 ** 20, files: 5 },
};

/** The runtime's spec, from a task's spec that was encoded and decoded as on the wire. */
async function asked(container: Given, resources: Limits): Promise<RuntimeSpec | undefined> {
  await using world = await World.started();
  const given = await world.run("svc.1", { spec: { container: container ?? {}, resources: resources ?? {} } });
  const spec = world.machine.containers.get(given.task)?.spec;
  const { "warren.node": node, "warren.task": task, ...labels } = spec?.labels ?? {};
  expect(node).toBe(world.agent.nodeId);
  expect(task).toBe(given.task);
  expect(spec?.id).toBe(given.task);
  return spec && { ...spec, id: "", labels };
}

test.each(fields)("%s reaches the runtime", async (_field, container, resources, expected) => {
  expect(await asked(container, resources)).toEqual({ ...defaults, labels: ours, ...expected });
});

test("labels reach the runtime, beside Warren's own", async () => {
  const spec = await asked({ labels: { a: "b" } }, {});
  expect(spec?.labels).toEqual({ a: "b", ...ours });
});

test("every field is in the table, or is handled by the agent", () => {
  const table = new Set<string>(fields.map(([field]) => field));
  const elsewhere = ["labels", "stopGraceMs", "healthCheck", "_unknownFields"];
  const all = [...Object.keys(ContainerSpec.create()), ...Object.keys(Resources.create())];
  expect(all.filter((field) => !table.has(field) && !elsewhere.includes(field))).toEqual([]);
});
