import {
  ApiError,
  ClusterSpec,
  ContainerSpec,
  NodeSpec_Availability,
  PortSpec_Mode,
  PortSpec_Protocol,
  RestartPolicy_Condition,
  ServiceSpec,
  UpdateConfig_FailureAction,
  UpdateConfig_Order,
  type FieldViolation,
} from "@warren/api";
import {
  checkClusterSpec,
  checkNetworkSpec,
  checkNodeSpec,
  checkRegistryLogin,
  checkServiceSpec,
} from "@warren/api/spec";
import { describe, expect, it } from "vitest";

type PartialSpec = Parameters<typeof ServiceSpec.fromPartial>[0];
type PartialContainer = Parameters<typeof ContainerSpec.fromPartial>[0];

const violations = (work: () => unknown): readonly FieldViolation[] => {
  try {
    work();
  } catch (error) {
    if (ApiError.is(error, "API_INVALID")) return error.failure.violations;
    throw error;
  }
  return [];
};
const ofSpec = (spec: PartialSpec): readonly FieldViolation[] =>
  violations(() => checkServiceSpec(ServiceSpec.fromPartial(spec)));
const web = (container: PartialContainer = {}, more: PartialSpec = {}): PartialSpec => ({
  name: "web",
  ...more,
  task: { ...more.task, container: { image: "nginx", ...container } },
});

describe("a service's spec", () => {
  it("of a name and an image is completed with every default", () => {
    const spec = checkServiceSpec(ServiceSpec.fromPartial(web()));
    expect(spec.mode).toEqual({ $case: "replicated", value: { replicas: 1 } });
    expect(spec.update).toEqual({
      parallelism: 1,
      delayMs: 0,
      order: UpdateConfig_Order.STOP_FIRST,
      failureAction: UpdateConfig_FailureAction.PAUSE,
      monitorMs: 5_000,
      maxFailureRatio: 0,
      progressDeadlineMs: 600_000,
    });
    expect(spec.rollback).toEqual(spec.update);
    expect(spec.task).toMatchObject({
      container: { image: "nginx", stopGraceMs: 10_000, logRotation: { maxFileBytes: 10_485_760, maxFiles: 5 } },
      resources: { cpuLimitNanos: 0, memoryLimitBytes: 0 },
      restart: { condition: RestartPolicy_Condition.ANY, delayMs: 5_000, maxAttempts: 0, windowMs: 0 },
      placement: { constraints: [], maxReplicasPerNode: 0 },
      networks: [],
    });
    expect(spec.task?.container?.healthCheck).toBeUndefined();
  });

  it("is the same when it is checked again, and as a message that was sent", () => {
    const spec = checkServiceSpec(
      ServiceSpec.fromPartial(
        web(
          {
            healthCheck: { probe: { $case: "http", value: { port: 80 } } },
            mounts: [{ source: { $case: "tmpfs", value: {} }, target: "/tmp" }],
            devices: [{ source: "/dev/fuse" }],
          },
          { ports: [{ target: 80 }] },
        ),
      ),
    );
    expect(spec.task?.container?.healthCheck).toEqual({
      probe: { $case: "http", value: { port: 80, path: "/" } },
      intervalMs: 10_000,
      timeoutMs: 5_000,
      retries: 3,
      startPeriodMs: 0,
    });
    expect(spec.task?.container?.mounts[0]?.source).toEqual({ $case: "tmpfs", value: { sizeBytes: 0, mode: 0o1777 } });
    expect(spec.task?.container?.devices).toEqual([{ source: "/dev/fuse", target: "/dev/fuse", permissions: "rwm" }]);
    expect(spec.ports).toEqual([
      { target: 80, published: 0, protocol: PortSpec_Protocol.TCP, mode: PortSpec_Mode.INGRESS },
    ]);
    expect(checkServiceSpec(spec)).toEqual(spec);
    expect(ServiceSpec.decode(ServiceSpec.encode(spec).finish())).toEqual(spec);
  });

  it("keeps an explicit zero where absence has another meaning", () => {
    const spec = checkServiceSpec(
      ServiceSpec.fromPartial({
        ...web({ stopGraceMs: 0 }),
        update: { parallelism: 0, monitorMs: 0 },
        mode: { $case: "replicated", value: { replicas: 0 } },
      }),
    );
    expect(spec.task?.container?.stopGraceMs).toBe(0);
    expect(spec.update).toMatchObject({ parallelism: 0, monitorMs: 0 });
    expect(spec.mode).toEqual({ $case: "replicated", value: { replicas: 0 } });
  });

  it("has an error with every invalid field at once", () => {
    const found = ofSpec({
      name: "Web",
      ports: [{ target: 0 }],
      task: { container: { image: "", workingDir: "here" }, resources: { memoryLimitBytes: 5 } },
    });
    expect(found.map(({ field }) => field).toSorted()).toEqual([
      "spec.name",
      "spec.ports[0].target",
      "spec.task.container.image",
      "spec.task.container.working_dir",
      "spec.task.resources.memory_limit_bytes",
    ]);
  });

  it("that is missing, or has no task or container, is refused as such", () => {
    expect(violations(() => checkServiceSpec(undefined))).toEqual([{ field: "spec", description: "is missing" }]);
    expect(ofSpec({ name: "web" })[0]).toMatchObject({ field: "spec.task" });
    expect(ofSpec({ name: "web", task: {} })[0]).toMatchObject({ field: "spec.task.container" });
  });

  it("that is too large as a whole is refused with its size", () => {
    const env = Object.fromEntries(Array.from({ length: 900 }, (_, i) => [`V${i}`, "x".repeat(400)]));
    const [found] = ofSpec(web({ env }));
    expect(found?.field).toBe("spec");
    expect(found?.description).toMatch(/has 3\d\d,\d{3} bytes; at most 262,144/);
  });

  const c = "spec.task.container";
  const bind = (target: string, path = "/data") => ({ source: { $case: "bind" as const, value: { path } }, target });
  const exec = (command: string[]) => ({ probe: { $case: "exec" as const, value: { command } } });
  it.each<[string, PartialSpec, RegExp]>([
    ["spec.name", web({}, { name: "" }), /want 1 to 63/],
    ["spec.name", web({}, { name: "a".repeat(64) }), /want 1 to 63/],
    ["spec.name", web({}, { name: "web-" }), /a-z/],
    ['spec.labels[""]', web({}, { labels: { "": "x" } }), /name/],
    ['spec.labels["k"]', web({}, { labels: { k: "x".repeat(5_000) } }), /4,096 bytes/],
    [
      "spec.labels",
      web({}, { labels: Object.fromEntries(Array.from({ length: 300 }, (_, i) => [i, ""])) }),
      /most 256/,
    ],
    ["spec.replicated.replicas", web({}, { mode: { $case: "replicated", value: { replicas: 10_001 } } }), /10,000/],
    [`${c}.image`, web({ image: "Nginx" }), /lower case/],
    [`${c}.image`, web({ image: "nginx:" }), /not a valid image/],
    [`${c}.image`, web({ image: "a@sha256:12" }), /digest/],
    [`${c}.image`, web({ image: "ho_st.x:5000/app" }), /registry/],
    [`${c}.image`, web({ image: "nginx latest" }), /not a valid image/],
    [`${c}.image`, web({ image: `a/${"b".repeat(600)}` }), /512/],
    [`${c}.args[1]`, web({ args: ["a", "b\0"] }), /NUL/],
    [`${c}.args[0]`, web({ args: ["x".repeat(140_000)] }), /131071/],
    [`${c}.command`, web({ command: Array.from({ length: 1_001 }, () => "x") }), /1001; at most 1000/],
    [`${c}.env["A B"]`, web({ env: { "A B": "1" } }), /letters, digits/],
    [`${c}.env["A"]`, web({ env: { A: "\0" } }), /NUL/],
    [`${c}.working_dir`, web({ workingDir: "/a/../b" }), /\.\./],
    [`${c}.user`, web({ user: "a:b:c" }), /USER:GROUP/],
    [`${c}.groups[0]`, web({ groups: ["a b"] }), /group/],
    [`${c}.hostname`, web({ hostname: "-x" }), /letters/],
    [`${c}.mounts[0].source`, web({ mounts: [{ target: "/a" }] }), /bind, volume and tmpfs/],
    [`${c}.mounts[0].bind.path`, web({ mounts: [bind("/a", "data")] }), /absolute/],
    [`${c}.mounts[0].target`, web({ mounts: [bind("/")] }), /below/],
    [`${c}.mounts[1].target`, web({ mounts: [bind("/a"), bind("/a/")] }), /mounts\[0\]/],
    [
      `${c}.mounts[0].volume.name`,
      web({ mounts: [{ source: { $case: "volume", value: { name: "../x" } }, target: "/a" }] }),
      /volume/,
    ],
    [
      `${c}.mounts[0].read_only`,
      web({ mounts: [{ source: { $case: "tmpfs", value: {} }, target: "/a", readOnly: true }] }),
      /tmpfs/,
    ],
    [
      `${c}.mounts[0].tmpfs.mode`,
      web({ mounts: [{ source: { $case: "tmpfs", value: { mode: 0o10000 } }, target: "/a" }] }),
      /1 to 4,095/,
    ],
    [`${c}.capability_add[0]`, web({ capabilityAdd: ["CAP_FLY"] }), /NET_ADMIN/],
    [`${c}.capability_drop[0]`, web({ capabilityDrop: ["CAP_ALL"] }), /capability/],
    [`${c}.sysctls["kernel.panic"]`, web({ sysctls: { "kernel.panic": "1" } }), /machine's/],
    [`${c}.sysctls["net.core.somaxconn"]`, web({ sysctls: { "net.core.somaxconn": "1\n2" } }), /one line/],
    [`${c}.ulimits[0].name`, web({ ulimits: [{ name: "files", soft: 1, hard: 1 }] }), /nofile/],
    [`${c}.ulimits[0].soft`, web({ ulimits: [{ name: "nofile", soft: -1, hard: 1 }] }), /above hard/],
    [
      `${c}.ulimits[1].name`,
      web({ ulimits: [1, 2].map((soft) => ({ name: "core", soft, hard: 2 })) }),
      /ulimits\[0\] already/,
    ],
    [`${c}.devices[0].permissions`, web({ devices: [{ source: "/dev/a", permissions: "rr" }] }), /r, w and m/],
    [
      `${c}.devices[1].target`,
      web({ devices: [{ source: "/dev/a" }, { source: "/dev/b", target: "/dev/a" }] }),
      /devices\[0\]/,
    ],
    [`${c}.extra_hosts["db"]`, web({ extraHosts: { db: "here" } }), /IP address/],
    [`${c}.extra_hosts["d b"]`, web({ extraHosts: { "d b": "10.0.0.1" } }), /host name/],
    [`${c}.dns.servers[0]`, web({ dns: { servers: ["x"] } }), /IP/],
    [`${c}.dns.servers`, web({ dns: { servers: ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"] } }), /at most 3/],
    [`${c}.dns.search[0]`, web({ dns: { search: ["a b"] } }), /domain/],
    [`${c}.dns.options[0]`, web({ dns: { options: ["a b"] } }), /ndots/],
    [`${c}.stop_signal`, web({ stopSignal: "SIGFOO" }), /SIGTERM/],
    [`${c}.stop_signal`, web({ stopSignal: "65" }), /64/],
    [`${c}.stop_grace_ms`, web({ stopGraceMs: 86_400_001 }), /a day/],
    [`${c}.health_check.probe`, web({ healthCheck: { retries: 1 } }), /http, tcp and exec/],
    [
      `${c}.health_check.http.port`,
      web({ healthCheck: { probe: { $case: "http", value: { port: 0 } } } }),
      /1 to 65,535, not 0/,
    ],
    [
      `${c}.health_check.http.path`,
      web({ healthCheck: { probe: { $case: "http", value: { port: 1, path: "x" } } } }),
      /begins with "\/"/,
    ],
    [`${c}.health_check.exec.command`, web({ healthCheck: exec([]) }), /program/],
    [`${c}.health_check.retries`, web({ healthCheck: { ...exec(["true"]), retries: 101 } }), /1 to 100/],
    [`${c}.log_rotation.max_file_bytes`, web({ logRotation: { maxFileBytes: 1 } }), /4,096/],
    ["spec.task.resources.cpu_limit_nanos", web({}, { task: { resources: { cpuLimitNanos: 1 } } }), /core/],
    [
      "spec.task.resources.memory_reservation_bytes",
      web({}, { task: { resources: { memoryLimitBytes: 1 << 20, memoryReservationBytes: 1 << 21 } } }),
      /above memory_limit_bytes, which is 1048576/,
    ],
    [
      "spec.task.resources.cpu_reservation_nanos",
      web({}, { task: { resources: { cpuLimitNanos: 1e9, cpuReservationNanos: 2e9 } } }),
      /above cpu_limit_nanos/,
    ],
    ["spec.task.restart.condition", web({}, { task: { restart: { condition: 9 as never } } }), /ON_FAILURE \(2\)/],
    ["spec.task.resources.pids_limit", web({}, { task: { resources: { pidsLimit: -2 } } }), /-1 for no limit, not -2/],
    ["spec.task.container.stop_signal", web({ stopSignal: "RTMIN+31" }), /SIGRTMIN\+3/],
    ['spec.task.container.env["a=b"]', web({ env: { "a=b": "" } }), /without white space, = and NUL/],
    ["spec.task.container.env", web({ env: JSON.parse('{"__proto__":"1"}') as Record<string, string> }), /__proto__/],
    ["spec.labels", web({}, { labels: JSON.parse('{"__proto__":"1"}') as Record<string, string> }), /__proto__/],
    ["spec.task.restart.window_ms", web({}, { task: { restart: { windowMs: 4e9 } } }), /30 days/],
    ["spec.task.placement.constraints[0]", web({}, { task: { placement: { constraints: [" "] } } }), /node\.labels/],
    ["spec.task.networks[0].network", web({}, { task: { networks: [{}] } }), /name a network/],
    [
      "spec.task.networks[1].network",
      web({}, { task: { networks: [{ network: "a" }, { network: "a" }] } }),
      /networks\[0\] again/,
    ],
    ["spec.task.networks[0].aliases[0]", web({}, { task: { networks: [{ network: "a", aliases: ["A"] }] } }), /a-z/],
    ["spec.task.registry_login", web({}, { task: { registryLogin: "a b" } }), /logged in to/],
    ["spec.update.max_failure_ratio", web({}, { update: { maxFailureRatio: 1.5 } }), /0 to 1/],
    ["spec.update.max_failure_ratio", web({}, { update: { maxFailureRatio: Number.NaN } }), /./],
    ["spec.update.order", web({}, { update: { order: 7 as never } }), /START_FIRST/],
    [
      "spec.rollback.failure_action",
      web({}, { rollback: { failureAction: UpdateConfig_FailureAction.ROLLBACK } }),
      /PAUSE/,
    ],
    [
      "spec.ports[1].published",
      web(
        {},
        {
          ports: [
            { target: 80, published: 80 },
            { target: 81, published: 80 },
          ],
        },
      ),
      /80\/tcp/,
    ],
    ["spec.ports[1]", web({}, { ports: [{ target: 80 }, { target: 80 }] }), /ports\[0\] again/],
    ["spec.ports[0].published", web({}, { ports: [{ target: 80, published: 70_000 }] }), /65,535/],
  ])("%s is refused with what is wanted", (field, spec, why) => {
    const found = ofSpec(spec);
    expect(found.map((each) => each.field)).toEqual([field]);
    expect(found[0]?.description).toMatch(why);
  });

  it.each<[string, PartialSpec]>([
    ["a full reference", web({ image: `registry.example:5000/a/b_c:1.2-x@sha256:${"0".repeat(64)}` })],
    ["a port of localhost", web({ image: "localhost:5000/app" })],
    ["an IPv6 registry", web({ image: "[::1]:5000/app" })],
    [
      "tcp and udp on one port",
      web(
        {},
        {
          ports: [
            { target: 53, published: 53 },
            { target: 53, published: 53, protocol: 2 },
          ],
        },
      ),
    ],
    ["numbers for users", web({ user: "1000:1000", groups: ["27", "docker"] })],
    ["capabilities in any form", web({ capabilityAdd: ["net_admin", "CAP_SYS_TIME"], capabilityDrop: ["ALL"] })],
    ["signals in any form", web({ stopSignal: "quit" })],
    ["a real-time signal", web({ stopSignal: "SIGRTMIN+3" })],
    ["variables as programs name them", web({ env: { "discovery.type": "single-node", "a-b": "", "0": "x" } })],
    ["no limit of processes", web({}, { task: { resources: { pidsLimit: -1 } } })],
    ["a service called __proto__'s kin", web({ env: { constructor: "x", toString: "y" } })],
    ["limits of none", web({ ulimits: [{ name: "core", soft: 0, hard: -1 }] })],
  ])("takes %s", (_, spec) => {
    expect(ofSpec(spec)).toEqual([]);
  });
});

describe("the smaller specs", () => {
  it("a network has a name", () => {
    expect(checkNetworkSpec({ name: "blue", labels: {} })).toEqual({ name: "blue", labels: {} });
    expect(violations(() => checkNetworkSpec({ name: "a.b", labels: {} }))[0]?.field).toBe("spec.name");
    expect(violations(() => checkNetworkSpec(undefined))[0]?.field).toBe("spec");
  });

  it("a node is active by default", () => {
    expect(checkNodeSpec({ labels: { zone: "n" }, availability: 0 }).availability).toBe(NodeSpec_Availability.ACTIVE);
    expect(violations(() => checkNodeSpec({ labels: {}, availability: 9 as never }))).toEqual([
      { field: "spec.availability", description: "9 is not known: want one of ACTIVE (1), PAUSE (2), DRAIN (3)" },
    ]);
  });

  it("a cluster has two pools that are apart", () => {
    expect(checkClusterSpec(undefined)).toEqual({ taskPool: "10.77.0.0/16", vipPool: "10.96.0.0/16", taskHistory: 5 });
    const faults = (spec: Partial<ClusterSpec>): string[] =>
      violations(() => checkClusterSpec(ClusterSpec.fromPartial(spec))).map(({ field }) => field);
    expect(faults({ taskPool: "10.0.0.0/8", vipPool: "10.96.0.0/16" })).toEqual(["spec.vip_pool"]);
    for (const taskPool of ["10.77.0.1/16", "10.77.0.0", "x", "10.0.0.0/24", "169.254.0.0/16", "224.0.0.0/8", "::/16"])
      expect(faults({ taskPool }), taskPool).toEqual(["spec.task_pool"]);
    expect(faults({ taskHistory: 101 })).toEqual(["spec.task_history"]);
  });

  it("a login names a registry as references do", () => {
    const auth = { username: "u", password: "p" };
    expect(checkRegistryLogin({ registry: "registry.example:5000", auth })).toEqual({
      registry: "registry.example:5000",
      auth,
    });
    for (const registry of ["index.docker.io", "registry-1.docker.io", "Docker.io"])
      expect(checkRegistryLogin({ registry, auth }).registry).toBe("docker.io");
    expect(violations(() => checkRegistryLogin({ registry: "https://x", auth }))).toMatchObject([
      { field: "registry", description: expect.stringContaining("scheme") as string },
    ]);
    expect(violations(() => checkRegistryLogin({ registry: "x", auth: undefined }))).toMatchObject([{ field: "auth" }]);
    expect(
      violations(() => checkRegistryLogin({ registry: "x", auth: { username: "u", password: "" } })),
    ).toMatchObject([{ field: "auth.password" }]);
  });
});
