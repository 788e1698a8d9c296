/** Arbitrary small worlds, with every attribute that a rule can read. */
import * as fc from "fast-check";
import type { AffinityTerm, Delta, NodeState, TaskState } from "../../src/index.ts";

export const nodeIds = ["a", "b", "c", "d", "e", "f"];
const serviceIds = ["web", "db", "log", "job"];
const topology = fc.constantFrom("node.hostname", "node.id", "node.labels.zone", "node.labels.rack");
/** Present in that many of ten cases. */
const some = <T>(arbitrary: fc.Arbitrary<T>, of10 = 5): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight: of10, arbitrary }, { weight: 10 - of10, arbitrary: fc.constant(undefined) });
/** Without the keys that are undefined. */
const present = <T extends object>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T> =>
  arbitrary.map((each) => Object.fromEntries(Object.entries(each).filter(([, it]) => it !== undefined)) as T);

export const anyNode: fc.Arbitrary<NodeState> = present(
  fc.record({
    id: fc.constantFrom(...nodeIds),
    hostname: fc.constantFrom("h1", "h2", "h3", "h4", "h5"),
    role: fc.constant("worker" as const),
    ready: fc.integer({ min: 0, max: 9 }).map((n) => n > 0),
    active: fc.integer({ min: 0, max: 9 }).map((n) => n > 0),
    labels: present(
      fc.record({ zone: some(fc.constantFrom("x", "y", "z"), 8), rack: some(fc.constantFrom("1", "2")) }),
    ) as fc.Arbitrary<Record<string, string>>,
    platform: some(fc.constantFrom({ os: "linux", arch: "arm64" }, { os: "linux", arch: "amd64" }), 8),
    resources: fc.record({
      cpu: fc.integer({ min: 0, max: 16 }),
      memory: fc.integer({ min: 0, max: 16 }),
    }) as fc.Arbitrary<Record<string, number>>,
    named: some(fc.constantFrom({ gpu: ["g1", "g2"] }, { gpu: ["g1"] })),
    taints: some(
      fc.array(
        fc.record({
          key: fc.constantFrom("k", "l"),
          value: fc.constantFrom("1", "2"),
          effect: fc.constantFrom("no-schedule" as const, "prefer-no-schedule" as const),
        }),
        { maxLength: 2 },
      ),
    ),
    networks: some(fc.subarray(["n1", "n2"])),
    volumes: some(fc.subarray(["v1", "l1"])),
    images: some(fc.subarray(["i1", "i2"])),
    level: some(fc.integer({ min: 0, max: 2 })),
    addresses: some(fc.integer({ min: 1, max: 6 }), 3),
  }),
) as fc.Arbitrary<NodeState>;

const anyTerm = present(
  fc.record({
    kind: fc.constantFrom("affinity" as const, "anti-affinity" as const),
    service: fc.constantFrom(...serviceIds),
    topology,
    required: some(fc.boolean()),
  }),
) as fc.Arbitrary<AffinityTerm>;

/** The requirements of a service: each rule seldom, so that tasks are placed often. */
const anyAsks: fc.Arbitrary<Partial<TaskState>> = present(
  fc.record({
    reservations: some(
      fc.record({ cpu: fc.integer({ min: 0, max: 4 }), memory: fc.integer({ min: 0, max: 4 }) }, { requiredKeys: [] }),
    ),
    gpu: some(fc.integer({ min: 1, max: 2 }), 2),
    constraints: some(
      fc.constantFrom(
        ["node.labels.zone == x"],
        ["node.labels.zone != x"],
        ["node.hostname != h1", "node.labels.rack == 1"],
        ["node.id == a"],
      ),
      2,
    ),
    platforms: some(fc.constant([{ os: "linux", arch: "arm64" }]), 2),
    hostPorts: some(
      fc.constantFrom(
        [{ port: 80, protocol: "tcp" as const }],
        [{ port: 81, protocol: "tcp" as const }],
        [
          { port: 80, protocol: "udp" as const },
          { port: 81, protocol: "tcp" as const },
        ],
      ),
      2,
    ),
    maxPerNode: some(fc.integer({ min: 1, max: 2 }), 2),
    image: some(fc.constantFrom("i1", "i2"), 2),
    tolerations: some(
      fc.constantFrom([{}], [{ key: "k" }], [{ key: "l", value: "1", effect: "no-schedule" as const }]),
      2,
    ),
    networks: some(fc.subarray(["n1", "n2"]), 2),
    volumes: some(fc.subarray(["v1"]), 2),
    localVolumes: some(fc.subarray(["l1", "l2"]), 2),
    affinity: some(fc.array(anyTerm, { maxLength: 2 }), 2),
    preferences: some(
      fc.constantFrom(["spread=node.labels.zone"], ["spread=node.labels.zone", "spread=node.labels.rack"]),
      2,
    ),
    priority: some(fc.integer({ min: -1, max: 2 }), 2),
    level: some(fc.integer({ min: 1, max: 2 }), 1),
  }),
).map(({ gpu, reservations, ...rest }) => {
  const all = { ...reservations, ...(gpu === undefined ? {} : { gpu }) };
  return Object.keys(all).length === 0 ? rest : { ...rest, reservations: all };
}) as fc.Arbitrary<Partial<TaskState>>;

/** The same requirements for all tasks of a service, which is an invariant of groups. */
export type Services = Readonly<Record<string, Partial<TaskState>>>;

export const anyServices: fc.Arbitrary<Services> = fc
  .tuple(...serviceIds.map(() => anyAsks))
  .map((asks) => Object.fromEntries(serviceIds.map((id, at) => [id, asks[at] ?? {}])));

export const anyTask = (services: Services): fc.Arbitrary<TaskState> =>
  fc
    .record({ n: fc.integer({ min: 0, max: 9 }), serviceId: fc.constantFrom(...serviceIds) })
    .map(({ n, serviceId }) => ({ id: `${serviceId}.${n}`, serviceId, specVersion: 1, ...services[serviceId] }));

export const anyDelta = (services: Services): fc.Arbitrary<Delta> =>
  fc.oneof(
    { weight: 4, arbitrary: anyNode.map((node): Delta => ({ kind: "node", node })) },
    { weight: 1, arbitrary: fc.constantFrom(...nodeIds).map((nodeId): Delta => ({ kind: "node-gone", nodeId })) },
    { weight: 8, arbitrary: anyTask(services).map((task): Delta => ({ kind: "task", task })) },
    {
      weight: 2,
      arbitrary: fc
        .tuple(anyTask(services), fc.constantFrom(...nodeIds), fc.nat(3))
        .map(([task, nodeId, n]): Delta => ({
          kind: "task",
          task: { ...task, nodeId, ...(n === 0 ? { leaving: true } : {}) },
        })),
    },
    { weight: 4, arbitrary: anyTask(services).map((task): Delta => ({ kind: "task-gone", taskId: task.id })) },
    {
      weight: 3,
      arbitrary: fc
        .record({
          nodeId: fc.constantFrom(...nodeIds),
          serviceId: fc.constantFrom(...serviceIds),
          at: fc.integer({ min: 0, max: 20 }),
        })
        .map((each): Delta => ({ kind: "failure", specVersion: 1, ...each, at: each.at * 60_000 })),
    },
    {
      weight: 1,
      arbitrary: fc.integer({ min: 0, max: 30 }).map((minute): Delta => ({ kind: "time", now: minute * 60_000 })),
    },
  );
