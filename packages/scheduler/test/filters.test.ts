import { describe, expect, it } from "vitest";
import {
  defaultFilters,
  type Delta,
  type Filter,
  type NodeState,
  Scheduler,
  SchedulerError,
  type TaskState,
} from "../src/index.ts";
import { GiB, node, places, task, applied, world } from "./world.ts";

const gpus = { gpu: ["gpu-0", "gpu-1"] };

describe("a filter that refuses says why, what would help, and the same as data", () => {
  type Row = [string, Partial<NodeState>, Partial<TaskState>, string, string, Record<string, string | number>];
  const refused: Row[] = [
    [
      "ready",
      { ready: false },
      {},
      "1 of 1 node not ready or not active: n is down",
      "bring n back",
      { state: "down" },
    ],
    [
      "ready",
      { active: false },
      {},
      "1 of 1 node not ready or not active: n is paused or drained",
      "activate n",
      { state: "paused or drained" },
    ],
    [
      "level",
      { level: 1 },
      { level: 3 },
      "1 of 1 node too old for the task, which needs level 3: n has level 1",
      "upgrade n to level 3",
      { needed: 3, actual: 1 },
    ],
    [
      "addresses",
      { addresses: 0 },
      {},
      "1 of 1 node out of addresses: n has 0 tasks and addresses for 0",
      "give n 1 more address",
      { addresses: 0, taken: 0 },
    ],
    [
      "constraints",
      { labels: { zone: "south" } },
      { constraints: ["node.labels.zone == north"] },
      '1 of 1 node excluded by constraints: n fails "node.labels.zone == north", where it is "south"',
      'label n with zone=north, or drop the constraint "node.labels.zone == north"',
      { constraint: "node.labels.zone == north", actual: "south" },
    ],
    [
      "constraints",
      {},
      { constraints: ["node.colour == red"] },
      '1 of 1 node excluded by constraints: n fails "node.colour == red", which names nothing that a node has',
      'drop the constraint "node.colour == red"',
      { constraint: "node.colour == red" },
    ],
    [
      "platform",
      { platform: { os: "linux", arch: "aarch64" } },
      { platforms: [{ os: "linux", arch: "amd64" }] },
      "1 of 1 node unable to run the image: it is for linux/amd64, n is linux/arm64",
      "build the image for linux/arm64",
      { image: "linux/amd64", actual: "linux/arm64" },
    ],
    [
      "taints",
      { taints: [{ key: "disk", value: "worn", effect: "no-schedule" }] },
      {},
      "1 of 1 node tainted against the task: disk=worn on n",
      "tolerate disk=worn, or take it off n",
      { taints: "disk=worn" },
    ],
    [
      "networks",
      { networks: ["lan"] },
      { networks: ["lan", "plant"] },
      "1 of 1 node without a network of the task: n lacks plant",
      "offer plant on n",
      { missing: "plant" },
    ],
    [
      "volumes",
      {},
      { volumes: ["tank"] },
      "1 of 1 node without a volume of the task: n lacks tank",
      "offer tank on n",
      { missing: "tank" },
    ],
    [
      "affinity",
      { hostname: "n" },
      { affinity: [{ kind: "affinity", service: "db", topology: "node.hostname" }] },
      "1 of 1 node not beside service db, by node.hostname: it has no task anywhere",
      'start service db in node.hostname "n"',
      { service: "db", topology: "node.hostname" },
    ],
    [
      "resources",
      { resources: { cpu: 5e8 } },
      { reservations: { cpu: 1e9 } },
      "1 of 1 node short of cpu: needs 1 CPU, most free is 0.5 CPU on n",
      "reserve at most 0.5 CPU, or add a node like n with 1 CPU",
      { kind: "cpu", needs: 1e9, free: 5e8 },
    ],
    [
      "resources",
      { named: gpus },
      { reservations: { gpu: 3 } },
      "1 of 1 node short of gpu: needs 3, most free is 2 on n",
      "reserve at most 2 gpu, or add a node like n with 3 gpu",
      { kind: "gpu", needs: 3, free: 2 },
    ],
  ];
  it.each(refused)("%s: %j for %j", (filter, state, asks, text, help, data) => {
    const [decision] = world([node("n", state)], [task("t", asks)]).schedule();
    expect(decision).toMatchObject({
      kind: "waiting",
      nodes: 1,
      text,
      help,
      refusals: [{ filter, nodes: 1, nearestNodeId: "n", help, data }],
    });
  });

  it("every built-in filter refuses somewhere in these tests", () => {
    const elsewhere = ["local-volumes", "anti-affinity", "host-ports", "max-per-node"];
    expect(new Set([...refused.map(([name]) => name), ...elsewhere])).toEqual(
      new Set(defaultFilters.map(({ name }) => name)),
    );
  });
});

describe("platform", () => {
  it.each([
    ["x86_64", "amd64", true],
    ["amd64", "x86_64", true],
    ["aarch64", "arm64", true],
    ["arm64", "amd64", false],
    ["arm64", "", true],
    ["armv7l", "arm", true],
    ["armv7l", "armhf", true],
    ["armv6l", "arm", false],
    ["armv7l", "armv6l", true],
    ["armv5tel", "armel", false],
    ["i686", "386", true],
    ["AMD64", "X86_64", true],
  ])("a node of %s runs an image of %j: %s", (arch, image, runs) => {
    const decisions = world(
      [node("n", { platform: { os: "linux", arch } })],
      [task("t", { platforms: [{ os: "linux", arch: image }] })],
    ).schedule();
    expect(decisions[0]?.kind).toBe(runs ? "placed" : "waiting");
  });

  it.each([
    ["arm", "v7", "arm", "v6", true],
    ["arm", "v6", "arm", "v7", false],
    ["arm", "7", "arm", "v7", true],
    ["arm64", undefined, "arm64", "v8", true],
    ["arm64", "v8", "arm64", undefined, true],
    ["amd64", undefined, "amd64", "v3", false],
    ["amd64", "v3", "amd64", "v2", true],
  ])("a node of %s/%s runs an image of %s/%s: %s", (arch, variant, image, wanted, runs) => {
    const of = (name: string, more: string | undefined): { os: string; arch: string; variant?: string } => ({
      os: "linux",
      arch: name,
      ...(more === undefined ? {} : { variant: more }),
    });
    const decisions = world(
      [node("n", { platform: of(arch, variant) })],
      [task("t", { platforms: [of(image, wanted)] })],
    ).schedule();
    expect(decisions[0]?.kind).toBe(runs ? "placed" : "waiting");
  });

  it("a node without a platform runs no image that names one", () => {
    expect(world([node("n")], [task("t", { platforms: [{ os: "", arch: "" }] })]).schedule()).toMatchObject([
      { text: "1 of 1 node unable to run the image: it is for any/any, n is of no known platform" },
    ]);
  });
});

describe("resources", () => {
  it("names the nearest miss in its own units", () => {
    const nodes = [
      node("a", { resources: { memory: GiB / 4 } }),
      node("b", { hostname: "edge-3", resources: { memory: GiB / 2 } }),
      node("c", { ready: false }),
    ];
    expect(world(nodes, [task("t", { reservations: { memory: GiB } })]).schedule()).toMatchObject([
      {
        text: "2 of 3 nodes short of memory: needs 1 GiB, most free is 512 MiB on edge-3; 1 of 3 nodes not ready or not active: c is down",
        help: "reserve at most 512 MiB of memory, or add a node like edge-3 with 1 GiB of memory",
      },
    ]);
  });

  it.each(["cpu", "memory", "disk", "pids", "fpga"])("%s is counted", (kind) => {
    const one = { reservations: { [kind]: 1 } };
    const decisions = world(
      [node("n", { resources: { [kind]: 2 } })],
      ["a", "b", "c"].map((id) => task(id, one)),
    ).schedule();
    expect(places(decisions)).toEqual({ a: "n", b: "n", c: undefined });
  });

  it("names what to free where a node is large enough, but in use", () => {
    const nodes = [node("n", { resources: { memory: 4 * GiB } })];
    const scheduler = world(nodes, [
      task("held", { serviceId: "other", nodeId: "n", reservations: { memory: 3.5 * GiB } }),
    ]);
    expect(applied(scheduler, { kind: "task", task: task("t", { reservations: { memory: GiB } }) })).toMatchObject([
      {
        help: "free 512 MiB of memory on n, or reserve at most 512 MiB of memory, or add a node like n with 1 GiB of memory",
      },
    ]);
  });

  it("assigns generic resources by name, each once, and frees them again", () => {
    const one = { reservations: { gpu: 1 } };
    const scheduler = world(
      [node("n", { named: gpus })],
      ["a", "b", "c"].map((id) => task(id, one)),
    );
    expect(scheduler.schedule()).toMatchObject([
      { taskId: "a", named: { gpu: ["gpu-0"] } },
      { taskId: "b", named: { gpu: ["gpu-1"] } },
      { taskId: "c", kind: "waiting" },
    ]);
    // A delta of the placed task without the names does not lose them.
    scheduler.apply({ kind: "task", task: task("b", { ...one, nodeId: "n" }) });
    expect(applied(scheduler, { kind: "task-gone", taskId: "a" })).toMatchObject([
      { taskId: "c", named: { gpu: ["gpu-0"] } },
    ]);
  });
});

describe("taints", () => {
  const tainted = node("n", { taints: [{ key: "k", value: "v", effect: "no-schedule" }] });
  it.each([
    [[{ key: "k", value: "v" }], true],
    [[{ key: "k" }], true],
    [[{}], true],
    [[{ key: "k", effect: "no-schedule" as const }], true],
    [[{ key: "k", value: "w" }], false],
    [[{ key: "other" }], false],
    [[{ key: "k", effect: "prefer-no-schedule" as const }], false],
  ])("%j is tolerated: %s", (tolerations, tolerated) => {
    expect(world([tainted], [task("t", { tolerations })]).schedule()[0]?.kind).toBe(tolerated ? "placed" : "waiting");
  });

  it("a soft taint only puts the node last", () => {
    const soft = node("soft", { taints: [{ key: "k", effect: "prefer-no-schedule" }] });
    const full = node("hard", { resources: { memory: 1 } });
    const decisions = world(
      [soft, full],
      [
        task("a", { reservations: { memory: 0 } }),
        task("b", { serviceId: "x", reservations: { memory: 1 } }),
        task("c", { serviceId: "y", tolerations: [{ key: "k" }] }),
      ],
    ).schedule();
    expect(places(decisions)).toEqual({ a: "hard", b: "hard", c: "soft" });
  });
});

describe("host ports and max per node", () => {
  it("a host port is used once per node and protocol", () => {
    const tcp = { hostPorts: [{ port: 80, protocol: "tcp" as const }] };
    const udp = { hostPorts: [{ port: 80, protocol: "udp" as const }] };
    const decisions = world(
      [node("n")],
      [task("a", tcp), task("b", tcp), task("c", { ...udp, serviceId: "x" })],
    ).schedule();
    expect(places(decisions)).toEqual({ a: "n", b: undefined, c: "n" });
    expect(decisions.at(-1)).toMatchObject({
      text: "1 of 1 node with a host port in use: 80/tcp on n",
      refusals: [{ filter: "host-ports" }],
    });
  });

  it("of several ports every one must be free", () => {
    const ports = (...numbers: number[]): Partial<TaskState> => ({
      hostPorts: numbers.map((port) => ({ port, protocol: "tcp" as const })),
    });
    const decisions = world(
      [node("n")],
      [task("a", ports(80)), task("b", { serviceId: "x", ...ports(80, 81) })],
    ).schedule();
    expect(places(decisions)).toEqual({ a: "n", b: undefined });
  });

  it("a node has at most N tasks of a service", () => {
    const decisions = world(
      [node("n"), node("m")],
      ["a", "b", "c"].map((id) => task(id, { maxPerNode: 1 })),
    ).schedule();
    expect(decisions.map((each) => each.kind)).toEqual(["placed", "placed", "waiting"]);
    expect(decisions[2]).toMatchObject({
      text: "2 of 2 nodes at the limit of 1 task of this service per node: m has 1",
      help: "allow 2 per node, or stop 1 on m",
    });
  });
});

describe("local volumes", () => {
  it("a volume that a node has ties its tasks to the node, and a new one is created where its first task is placed", () => {
    const nodes = [node("a"), node("b", { volumes: ["data"] }), node("c")];
    const decisions = world(nodes, [
      task("1", { localVolumes: ["data"] }),
      task("2", { serviceId: "x", localVolumes: ["new"] }),
      task("3", { serviceId: "y", localVolumes: ["new"] }),
    ]).schedule();
    expect(places(decisions)["1"]).toBe("b");
    expect(places(decisions)["2"]).toBe(places(decisions)["3"]);
    const [second] = world(
      nodes,
      ["1", "2"].map((id) => task(id, { localVolumes: ["new"] })),
    ).schedule();
    expect(second?.kind).toBe("placed");
  });

  it("says where the volumes are, and waits for their node", () => {
    const scheduler = world(
      [node("a", { volumes: ["x"] }), node("b", { volumes: ["y"] })],
      [task("t", { localVolumes: ["x", "y"] })],
    );
    expect(scheduler.schedule()).toMatchObject([
      {
        text: "2 of 2 nodes away from the task's local volumes: x is on a, y is on b",
      },
    ]);
    expect(
      places(
        applied(
          scheduler,
          { kind: "node", node: node("b", { volumes: ["x", "y"] }) },
          { kind: "node", node: node("a") },
        ),
      ),
    ).toEqual({ t: "b" });
  });

  it("a task that held the volume's node frees it for others", () => {
    const scheduler = world(
      [node("a", { ready: false }), node("b")],
      [task("first", { serviceId: "x", nodeId: "a", localVolumes: ["v"] }), task("t", { localVolumes: ["v"] })],
    );
    expect(scheduler.schedule()).toMatchObject([
      { kind: "waiting", refusals: [{ filter: "local-volumes" }, { filter: "ready" }] },
    ]);
    expect(places(applied(scheduler, { kind: "task-gone", taskId: "first" }))).toEqual({ t: "b" });
  });
});

describe("affinity", () => {
  const zones = [
    node("a", { labels: { zone: "x" } }),
    node("b", { labels: { zone: "x" } }),
    node("c", { labels: { zone: "y" } }),
    node("d"),
  ];
  const term = (
    kind: "affinity" | "anti-affinity",
    service: string,
    topology = "node.labels.zone",
    required?: boolean,
  ): Partial<TaskState> => ({
    affinity: [{ kind, service, topology, ...(required === undefined ? {} : { required }) }],
  });

  it("puts tasks into the domain that holds the service, and wakes them when it comes", () => {
    const scheduler = world(zones, [task("t", { serviceId: "app", ...term("affinity", "db") })]);
    expect(scheduler.schedule()).toMatchObject([
      { kind: "waiting", text: "4 of 4 nodes not beside service db, by node.labels.zone: it has no task anywhere" },
    ]);
    expect(places(applied(scheduler, { kind: "task", task: task("db", { serviceId: "db", nodeId: "c" }) }))).toEqual({
      t: "c",
    });
  });

  it("of two services in one batch, the one that needs the other waits for it", () => {
    const decisions = world(zones, [
      task("t", { serviceId: "app", ...term("affinity", "db", "node.hostname") }),
      task("db", { serviceId: "db" }),
    ]).schedule();
    expect(decisions).toMatchObject([{ taskId: "db" }, { kind: "waiting", taskId: "t" }]);
    const named = zones.map((each) => ({ ...each, hostname: each.id }));
    const both = world(named, [
      task("t", { serviceId: "app", ...term("affinity", "db", "node.hostname") }),
      task("db", { serviceId: "db" }),
    ]).schedule();
    expect(both.map((each) => each.taskId)).toEqual(["db", "t"]);
    expect(places(both)["t"]).toBe(places(both)["db"]);
  });

  it("tasks that want to be together begin anywhere and stay in one domain", () => {
    const decisions = world(
      zones.slice(0, 3),
      ["1", "2", "3", "4"].map((id) => task(id, term("affinity", "web"))),
    ).schedule();
    const zone = (id: string | undefined): string | undefined => zones.find((each) => each.id === id)?.labels?.["zone"];
    expect(new Set(Object.values(places(decisions)).map(zone)).size).toBe(1);
    expect(decisions.every((each) => each.kind === "placed")).toBe(true);
  });

  it("keeps tasks out of each other's domain; a node in none takes any", () => {
    const decisions = world(
      zones,
      ["1", "2", "3", "4", "5"].map((id) => task(id, term("anti-affinity", "web"))),
    ).schedule();
    const on = Object.values(places(decisions));
    expect(on.filter((id) => id === "a" || id === "b").length).toBe(1);
    expect(on.filter((id) => id === "c").length).toBe(1);
    expect(on.filter((id) => id === "d").length).toBe(3);
  });

  it("binds both ways, and names the service that keeps the other away", () => {
    const shy = task("shy", { serviceId: "shy", nodeId: "a", ...term("anti-affinity", "web") });
    const scheduler = world(zones.slice(0, 2), [shy, task("t")]);
    expect(scheduler.schedule()).toMatchObject([
      {
        kind: "waiting",
        text: '2 of 2 nodes closed to service web by another service\'s anti-affinity: a is in node.labels.zone "x"',
        refusals: [{ filter: "anti-affinity" }],
      },
    ]);
    expect(places(applied(scheduler, { kind: "task-gone", taskId: "shy" }))["t"]).toBeDefined();
    const other = world(zones.slice(0, 2), [
      task("loud", { serviceId: "loud", nodeId: "a" }),
      task("t", term("anti-affinity", "loud")),
    ]);
    expect(other.schedule()).toMatchObject([
      {
        text: '2 of 2 nodes beside service loud: a is in node.labels.zone "x"',
        help: 'stop service loud in node.labels.zone "x"',
        refusals: [{ data: { value: "x" } }],
      },
    ]);
    // The node that the other is on moves away.
    expect(places(applied(other, { kind: "node", node: node("a", { labels: { zone: "z" } }) }))).toEqual({ t: "b" });
  });

  it("anti-affinity follows its task when the node changes its domain, is removed, or is applied late", () => {
    const shy = task("shy", { serviceId: "shy", nodeId: "a", ...term("anti-affinity", "web") });
    const scheduler = world([zones[1]!, zones[2]!], [shy]);
    expect(applied(scheduler, { kind: "task", task: task("1") }, { kind: "task", task: task("2") })).toMatchObject([
      {},
      {},
    ]);
    // Node a, with the task that keeps others away, is applied in zone x, then in y, then removed.
    const deltas = (zone: string): Delta[] => [
      { kind: "node", node: node("a", { labels: { zone } }) },
      { kind: "task", task: task("3") },
    ];
    expect(places(applied(scheduler, ...deltas("x")))).toEqual({ 3: "c" });
    scheduler.apply({ kind: "task-gone", taskId: "3" });
    expect(places(applied(scheduler, ...deltas("y")))).toEqual({ 3: "b" });
    scheduler.apply({ kind: "node", node: node("b", { ready: false }) });
    expect(applied(scheduler, { kind: "task", task: task("4") })).toMatchObject([{ kind: "waiting" }]);
    expect(places(applied(scheduler, { kind: "node-gone", nodeId: "a" }))).toEqual({ 4: "c" });
  });

  it("when a task that keeps others away leaves, they are placed on other nodes of its domain too", () => {
    const full = { ...zones[0]!, resources: { memory: 1 } };
    const roomy = { ...zones[1]!, resources: { memory: 9 } };
    const shy = task("shy", { serviceId: "shy", nodeId: "a", ...term("anti-affinity", "web") });
    const scheduler = world([full, roomy], [shy, task("t", { reservations: { memory: 5 } })]);
    expect(scheduler.schedule()).toMatchObject([{ kind: "waiting" }]);
    expect(places(applied(scheduler, { kind: "task-gone", taskId: "shy" }))).toEqual({ t: "b" });
  });

  it("nodes with one hostname are one domain, also for indexes that were made before", () => {
    const hosts = [node("a", { hostname: "h" }), node("b", { hostname: "h" }), node("c", { hostname: "i" })];
    const apart = term("anti-affinity", "db", "node.hostname");
    const db = { kind: "task" as const, task: task("db", { serviceId: "db", nodeId: "a" }) };
    const scheduler = world(hosts, [db.task]);
    let n = 0;
    const put = (): string | undefined => {
      n += 1;
      const id = `t${n}`;
      return places(applied(scheduler, { kind: "task", task: task(id, { serviceId: id, ...apart }) }))[id];
    };
    expect([put(), put(), put()]).toEqual(["c", "c", "c"]);
    scheduler.apply({ kind: "task-gone", taskId: "db" });
    scheduler.apply({ kind: "node", node: { ...hosts[0]!, ready: false } });
    expect(put()).toBe("b");
    scheduler.apply({ kind: "node", node: hosts[0]! });
    expect(put()).toBe("a");
    // The other way round: tasks that keep db away make a domain of both nodes too.
    expect(applied(scheduler, { kind: "task", task: task("db", { serviceId: "db" }) })).toMatchObject([
      { kind: "waiting" },
    ]);
    for (let at = 1; at <= n; at += 1) scheduler.apply({ kind: "task-gone", taskId: `t${at}` });
    expect(scheduler.schedule()).toMatchObject([{ taskId: "db", kind: "placed" }]);
    scheduler.apply({ kind: "task-gone", taskId: "db" });
    scheduler.apply(db);
    expect([put(), put(), put()]).toEqual(["c", "c", "c"]);
    scheduler.apply({ kind: "task-gone", taskId: "db" });
    for (let at = 1; at <= n; at += 1) scheduler.apply({ kind: "task-gone", taskId: `t${at}` });
    scheduler.apply({ kind: "node", node: node("c", { ready: false }) });
    scheduler.apply({ kind: "task", task: task("shy", { serviceId: "shy", nodeId: "a", ...apart }) });
    expect(applied(scheduler, { kind: "task", task: task("db2", { serviceId: "db" }) })).toMatchObject([
      { kind: "waiting" },
    ]);
  });

  it("preferred affinity comes before spreading, and is ignored where it can't be met", () => {
    const db = task("db", { serviceId: "db", nodeId: "c" });
    const near = world(zones, [
      db,
      ...["1", "2"].map((id) => task(id, term("affinity", "db", "node.labels.zone", false))),
    ]);
    expect(places(near.schedule())).toEqual({ 1: "c", 2: "c" });
    const far = world(zones.slice(2, 3), [db, task("1", term("anti-affinity", "db", "node.id", false))]);
    expect(places(far.schedule())).toEqual({ 1: "c" });
    const away = world(zones, [
      db,
      ...["1", "2", "3", "4"].map((id) => task(id, term("anti-affinity", "db", "node.id", false))),
    ]);
    expect(Object.values(places(away.schedule()))).not.toContain("c");
  });
});

describe("filters of your own", () => {
  const calm: Filter = {
    name: "calm",
    check: () => (each) => each.load < 1,
    explain: (_task, nearest) => `busy: ${nearest.state.id}`,
  };

  it("a filter with only a name, a check and a reason is called for each node, and any change wakes its groups", () => {
    const scheduler = world(
      [node("a"), node("b")],
      ["1", "2", "3"].map((id) => task(id, { serviceId: id })),
      { filters: [...defaultFilters, calm] },
    );
    expect(scheduler.schedule()).toMatchObject([
      { kind: "placed" },
      { kind: "placed" },
      { taskId: "3", text: "2 of 2 nodes busy: a", refusals: [{ filter: "calm" }] },
    ]);
    expect(applied(scheduler, { kind: "task-gone", taskId: "1" })).toMatchObject([{ taskId: "3", kind: "placed" }]);
  });
});

describe("invalid input is refused, and nothing is changed", () => {
  const bad: [string, Partial<TaskState>][] = [
    ["SCHEDULER_TASK_INVALID", { reservations: { cpu: -1 } }],
    ["SCHEDULER_TASK_INVALID", { reservations: { cpu: 0.5 } }],
    ["SCHEDULER_TASK_INVALID", { affinity: [{ kind: "affinity", service: "x", topology: "zone" }] }],
    ["SCHEDULER_TASK_INVALID", { preferences: ["node.labels.zone"] }],
    ["SCHEDULER_TASK_INVALID", { preferences: ["spread=zone"] }],
    ["SCHEDULER_TASK_INVALID", { maxPerNode: -1 }],
    ["SCHEDULER_TASK_INVALID", { priority: Number.NaN }],
    ["SCHEDULER_CONSTRAINT_INVALID", { constraints: ["?"] }],
  ];
  it.each(bad)("%s: a task with %j", (code, asks) => {
    const scheduler = world([node("n")], []);
    expect(() => scheduler.apply({ kind: "task", task: task("t", asks) })).toThrow(
      expect.objectContaining({ failure: expect.objectContaining({ code }) }),
    );
    expect(scheduler.schedule()).toEqual([]);
  });

  it("a node that offers less than nothing, and scorers without an order", () => {
    expect(() => world([node("n", { resources: { cpu: -1 } })], [])).toThrow(SchedulerError);
    expect(() => new Scheduler({ scorers: [] })).toThrow(SchedulerError);
  });
});
