import {
  LeaseState,
  NodeSpec_Availability,
  NodeStatus_State,
  ObjectKind,
  TaskState,
  UpdateStatus,
  UpdateStatus_State,
  type Service,
} from "@warren/api";
import { numberedSlot } from "@warren/api/model";
import { describe, expect, it } from "vitest";
import { addNode, addTask, control, failure, web, type Control } from "./fixture.ts";

const at = (second: number): Date => new Date(second * 1_000);

async function service(world: Control, replicas: number): Promise<string> {
  const { meta } = await world.client.services.create({
    spec: web({ mode: { $case: "replicated", value: { replicas } } }),
  });
  return meta?.id ?? "";
}

describe("why", () => {
  it("a service that runs as asked for says so", async () => {
    const world = await control();
    const serviceId = await service(world, 1);
    await addTask(world, { serviceId, status: { state: TaskState.RUNNING, at: at(1) } });
    expect(await world.client.services.explain({ ref: "web" })).toMatchObject({
      summary: "service web runs as asked for: 1 of 1",
      reasons: [],
    });
  });

  it("a node's conditions are reasons of the services that they concern, and of no other", async () => {
    const world = await control();
    const serviceId = await service(world, 1);
    const other = await world.client.services.create({ spec: web({ name: "other" }) });
    const said = (code: string, more: { serviceIds?: string[]; everyTask?: boolean }): object => ({
      code,
      message: `says ${code}`,
      remedy: `mends ${code}`,
      since: at(7),
      ...more,
    });
    const conditions = [
      said("PORT_IN_USE", { serviceIds: [serviceId] }),
      said("RUNTIME_FAULT", {}),
      said("FIREWALL_NAMES", { everyTask: true }),
    ];
    const edge1 = await addNode(world, "edge-1", NodeStatus_State.READY, conditions);
    await addNode(world, "edge-2", NodeStatus_State.READY, [said("FIREWALL_NAMES", { everyTask: true })]);
    await addNode(world, "edge-3", NodeStatus_State.DOWN, [said("PORT_IN_USE", { serviceIds: [serviceId] })]);
    const task = await addTask(world, { serviceId, nodeId: edge1, status: { state: TaskState.RUNNING, at: at(9) } });
    const reasons = async (ref: string): Promise<unknown> =>
      (await world.client.services.explain({ ref })).reasons.map(({ text, remedy }) => [text, remedy]);
    expect(await reasons("web")).toEqual([
      ["on edge-1: says PORT_IN_USE", "mends PORT_IN_USE"],
      ["on edge-1: says FIREWALL_NAMES", "mends FIREWALL_NAMES"],
    ]);
    expect(await reasons(task)).toEqual([
      ["on edge-1: says PORT_IN_USE", "mends PORT_IN_USE"],
      ["on edge-1: says FIREWALL_NAMES", "mends FIREWALL_NAMES"],
      ["runs on edge-1", ""],
    ]);
    expect(JSON.stringify(await reasons(other.meta?.id ?? ""))).not.toContain("FIREWALL");
  });

  it("a slot that fails tells its ends, the newest three, with what would help", async () => {
    const world = await control();
    const serviceId = await service(world, 1);
    const nodeId = await addNode(world, "edge-1");
    for (let run = 1; run <= 5; run += 1) {
      await addTask(world, {
        serviceId,
        nodeId,
        run,
        status: { state: TaskState.FAILED, at: at(run), message: "exited", container: { exitCode: run } },
      });
    }
    const waiting = await addTask(world, {
      serviceId,
      epoch: 2,
      slotFields: { retryAt: at(60) },
      lease: LeaseState.OFFERED,
      status: { state: TaskState.READY, at: at(9), message: "waits 50 s after the failure" },
    });
    const { summary, reasons } = await world.client.services.explain({ ref: "web" });
    expect(summary).toBe("service web runs 0 of 1; slot 1: ready: waits 50 s after the failure");
    expect(reasons.map(({ text }) => text)).toEqual([
      "failed with exit code 3: exited on edge-1",
      "failed with exit code 4: exited on edge-1",
      "failed with exit code 5: exited on edge-1",
      "waits: ready: waits 50 s after the failure",
      "is tried again at 1970-01-01T00:01:00.000Z: back-off after what happened before",
    ]);
    expect(reasons.map(({ past }) => past)).toEqual([true, true, false, false, false]);
    const newest = world.store
      .view()
      .list("tasks")
      .find(({ run }) => run === 5)?.meta?.id;
    expect(reasons[2]).toMatchObject({ remedy: "read its whole log", command: `warren task logs ${newest}` });
    expect((await world.client.services.explain({ ref: "web" })).logTaskId).toBe(newest);
    expect(reasons[3]).toMatchObject({ taskId: waiting, slot: numberedSlot(1), at: at(9) });
  });

  it.each([
    ["RUNTIME_IMAGE_NOT_FOUND", TaskState.REJECTED, /name or tag/, "warren registry login docker.io"],
    ["RUNTIME_REGISTRY_UNAUTHORIZED", TaskState.REJECTED, /log in/, "warren registry login docker.io"],
    ["RUNTIME_DISK_FULL", TaskState.REJECTED, /make room/, ""],
    ["RUNTIME_PLATFORM_MISSING", TaskState.REJECTED, /platform/, "warren node list"],
    ["", TaskState.ORPHANED, /does not answer/, "warren node list"],
  ] as const)("a task with code %s has its remedy, and a command", async (code, state, remedy, command) => {
    const world = await control();
    const serviceId = await service(world, 1);
    const id = await addTask(world, { serviceId, status: { state, at: at(1), code, message: "why" } });
    const { summary, reasons } = await world.client.services.explain({ ref: id });
    expect(summary).toMatch(/^task web\.1 (rejected|orphaned): why$/);
    expect(reasons.at(-1)?.remedy).toMatch(remedy);
    expect(reasons.at(-1)?.command).toBe(command);
  });

  it("a task out of memory, one without its program, and one that gets no more tries", async () => {
    const world = await control();
    const resources = { memoryLimitBytes: 96 * 2 ** 20 };
    const spec = web({ mode: { $case: "replicated", value: { replicas: 3 } }, task: { resources } });
    const serviceId = (await world.client.services.create({ spec })).meta?.id ?? "";
    const end = (slot: number, container: { exitCode?: number; oomKilled?: boolean }, settled = "") =>
      addTask(world, {
        serviceId,
        slot,
        slotFields: { settled },
        status: { state: TaskState.FAILED, at: at(slot), container },
      });
    await end(1, { exitCode: 137, oomKilled: true });
    await end(2, { exitCode: 127 });
    await end(3, { exitCode: 1 }, "it was restarted 3 times, as often as its policy allows");
    const { reasons } = await world.client.services.explain({ ref: "web" });
    expect(reasons[0]).toMatchObject({ text: "ran out of memory and was killed" });
    expect(reasons[0]?.command).toBe("warren service update web --limit-memory 192m");
    expect(reasons[1]?.remedy).toContain("in the image");
    expect(reasons[2]?.text).toContain("no further task follows: it was restarted 3 times");
    expect(reasons[2]).toMatchObject({
      remedy: "read its whole log; then try again",
      command: "warren service update web --force",
    });
  });

  it.each([
    [0, [], "", "there is no node", /this machine's worker/],
    [
      2,
      [{ filter: "constraints", nodes: 2, text: "no zone north" }],
      'label a with zone=north, or drop the constraint "zone"',
      "none of 2 nodes can take it (2: no zone north)",
      /^label a with zone=north, or drop the constraint "zone" \(warren node update --label, warren service update --constraint-rm\)$/,
    ],
    [
      1,
      [{ filter: "ready", nodes: 1, text: "" }],
      "bring a back",
      "the only node can't take it (1: ready)",
      /^bring a back$/,
    ],
    [1, [{ filter: "x", nodes: 1, text: "x" }], "", "the only node can't take it (1: x)", /^$/],
  ] as const)(
    "a task that waits for one of %i nodes says which filter, and what would help",
    async (nodes, refusals, help, text, remedy) => {
      const world = await control();
      const serviceId = await service(world, 1);
      await addTask(world, {
        serviceId,
        status: { state: TaskState.PENDING, at: at(1), pending: { nodes, refusals: [...refusals], help } },
      });
      const { summary, reasons } = await world.client.services.explain({ ref: "web.1" });
      expect(summary).toBe(`task web.1 waits: ${text}`);
      expect(reasons.at(-1)?.remedy).toMatch(remedy);
    },
  );

  it("a task on a node that is down tells of the node", async () => {
    const world = await control();
    const serviceId = await service(world, 1);
    const nodeId = await addNode(world, "edge-1", NodeStatus_State.DOWN);
    await addTask(world, { serviceId, nodeId, status: { state: TaskState.PREPARING, at: at(1), message: "pulling" } });
    const { reasons } = await world.client.services.explain({ ref: "web" });
    expect(reasons.map(({ text }) => text)).toContain("its node edge-1 is down; it was preparing");
    expect((await world.client.services.explain({ ref: "web.1" })).summary).toBe(
      "task web.1 waits: its node edge-1 is down",
    );
  });

  it("a task that ran on a node that is down is not said to run", async () => {
    const world = await control();
    const serviceId = await service(world, 1);
    const nodeId = await addNode(world, "edge-1", NodeStatus_State.DOWN);
    await addTask(world, { serviceId, nodeId, status: { state: TaskState.RUNNING, at: at(1) } });
    const { summary, reasons } = await world.client.services.explain({ ref: "web" });
    expect(summary).toBe("service web runs 0 of 1; slot 1: its node edge-1 is down");
    expect(reasons).toMatchObject([
      {
        text: "its node edge-1 is down; it ran when last heard of",
        remedy: "bring the node back, or wait: the task is replaced elsewhere",
      },
    ]);
    expect((await world.client.services.explain({ ref: "web.1" })).summary).toBe(
      "task web.1 ran on edge-1, which is down",
    );
  });

  it("a service that was rolled back: what the other version died of, until the next update", async () => {
    const world = await control();
    const { client, store } = world;
    const serviceId = await service(world, 1);
    await addTask(world, { serviceId, status: { state: TaskState.RUNNING, at: at(1) } });
    const cause = "1 of 1 slot failed with the new version: in web.1 the task abc failed with exit code 3";
    await store.update((tx) => {
      const found = tx.resolve("services", serviceId);
      const updateStatus = UpdateStatus.fromPartial({
        state: UpdateStatus_State.ROLLED_BACK,
        message: "every task was replaced",
        versionId: found.versionId,
        rollback: true,
        cause,
        failedSlot: numberedSlot(1),
        failedEnd: { taskId: "abc", exitCode: 3 },
      });
      tx.update("services", { ...found, updateStatus });
    });
    const texts = async (): Promise<string[]> =>
      (await client.services.explain({ ref: "web" })).reasons.map(({ text }) => text);
    const why = `the service was rolled back: every task was replaced; it was rolled back since ${cause}`;
    expect(await texts()).toContain(why);
    // Neither a label nor another number of tasks is an update.
    const { spec, specVersion } = await client.services.get({ ref: "web" });
    await client.services.update({ ref: "web", specVersion, spec: { ...spec, labels: { tier: "front" } } });
    await client.services.scale({ ref: "web", replicas: 2 });
    expect(await texts()).toContain(why);
    const again = await client.services.get({ ref: "web" });
    if (again.spec?.task?.container === undefined) throw new Error("it has a container");
    again.spec.task.container.env = { LEVEL: "debug" };
    await client.services.update({ ref: "web", specVersion: again.specVersion, spec: again.spec });
    expect(await texts()).not.toContain(why);
  });

  it("a task that is to move: for what", async () => {
    const world = await control();
    const serviceId = await service(world, 1);
    await addTask(world, { serviceId, status: { state: TaskState.RUNNING, at: at(1) } });
    const pending = { state: TaskState.PENDING, at: at(2), message: "waits for a node" };
    const leaseFields = { cause: "the slot moves, since edge-1 is drained" };
    await addTask(world, { serviceId, epoch: 2, status: pending, leaseFields });
    const { reasons } = await world.client.services.explain({ ref: "web" });
    expect(reasons.map(({ text }) => text)).toContain(
      "is to take the place of the task before it: the slot moves, since edge-1 is drained",
    );
  });

  it("a service whose old tasks all run does not run as asked for while they are replaced", async () => {
    const world = await control();
    const { client } = world;
    const serviceId = await service(world, 2);
    const status = { state: TaskState.RUNNING, at: at(1) };
    for (const slot of [1, 2]) await addTask(world, { serviceId, slot, status });
    const { spec, specVersion } = await client.services.get({ ref: "web" });
    if (spec?.task?.container === undefined) throw new Error("it has a container");
    spec.task.container.env = { LEVEL: "debug" };
    await client.services.update({ ref: "web", specVersion, spec });
    const summary = async (): Promise<string> => (await client.services.explain({ ref: "web" })).summary;
    expect(await summary()).toBe("service web runs 2 of 2, 0 of them as asked for: its update is under way");
    for (const slot of [1, 2]) await addTask(world, { serviceId, slot, epoch: 2, status });
    expect(await summary()).toBe("service web runs as asked for: 2 of 2");
  });

  it("what fails again and again comes before the move to another node that there is not", async () => {
    const world = await control();
    const serviceId = await service(world, 1);
    const container = { exitCode: 3 };
    const leaseFields = { record: { failures: 4 } };
    const failed = { state: TaskState.FAILED, at: at(1), message: "boom", container };
    await addTask(world, { serviceId, status: failed, leaseFields });
    const pending = { state: TaskState.PENDING, at: at(2), message: "waits for a node" };
    await addTask(world, { serviceId, epoch: 2, status: pending });
    const { summary } = await world.client.services.explain({ ref: "web" });
    expect(summary).toBe("service web runs 0 of 1; slot 1: failed with exit code 3: boom, 4 times in a row");
  });

  it("a task that runs where it should not stay, and has no other place, is told", async () => {
    const world = await control();
    const serviceId = await service(world, 1);
    await addTask(world, { serviceId, status: { state: TaskState.RUNNING, at: at(1) } });
    const pending = { state: TaskState.PENDING, at: at(2), message: "no node has zone south" };
    await addTask(world, { serviceId, epoch: 2, status: pending });
    expect(await world.client.services.explain({ ref: "web" })).toMatchObject({
      summary: "service web runs as asked for: 1 of 1; web.1 is to move, but pending: no node has zone south",
      reasons: [{ text: "waits: pending: no node has zone south" }],
    });
  });

  it("an update that is paused, a service at zero, and one that nobody has seen yet", async () => {
    const world = await control();
    const { client, store } = world;
    await service(world, 1);
    const explain = () => client.services.explain({ ref: "web" });
    expect((await explain()).reasons[0]).toMatchObject({ text: "no task has been made yet" });
    const updateStatus = {
      state: UpdateStatus_State.PAUSED,
      startedAt: at(1),
      completedAt: undefined,
      message: "paused, 2 failed",
      fromVersionId: "",
      rollback: false,
      blocked: "",
      progressAt: undefined,
      sinceIndex: 0,
      cause: "",
      failedSlot: undefined,
      failedEnd: undefined,
    };
    await store.update((tx) => {
      const [found] = tx.find("services", "name", "web") as [Service];
      tx.update("services", { ...found, updateStatus: { ...updateStatus, versionId: found.versionId } });
    });
    expect((await explain()).reasons[0]).toMatchObject({
      text: "the update is paused: 2 failed",
      remedy: "mend what failed and update again, or go back",
      command: "warren service rollback web",
    });
    const [{ meta }] = store.view().find("services", "name", "web") as [Service];
    await addTask(world, { serviceId: meta?.id ?? "", status: { state: TaskState.RUNNING, at: at(1) } });
    expect((await explain()).summary).toBe("service web runs 1 of 1, 1 of them as asked for: its update is paused");
    await client.services.scale({ ref: "web", replicas: 0 });
    expect((await explain()).summary).toBe("service web is scaled to zero");
    expect((await failure(client.services.explain({ ref: "no-such" }))).failure).toMatchObject({
      kind: "service or task",
    });
  });

  it("a task that runs, that stops, and that was replaced", async () => {
    const world = await control();
    const serviceId = await service(world, 1);
    const nodeId = await addNode(world, "edge-1");
    const old = await addTask(world, {
      serviceId,
      nodeId,
      lease: LeaseState.RELEASING,
      status: { state: TaskState.RUNNING, at: at(1) },
    });
    await addTask(world, { serviceId, nodeId, epoch: 2, status: { state: TaskState.RUNNING, at: at(2) } });
    const summary = async (ref: string) => (await world.client.services.explain({ ref })).summary;
    expect(await summary(old)).toBe("task web.1 is running on edge-1 and told to stop");
    expect(await summary("web.1")).toBe("task web.1 runs on edge-1");
  });

  it("a node says its state, what is wrong with it, what it runs and what its tasks reserve", async () => {
    const world = await control();
    const resources = { memoryReservationBytes: 64 * 2 ** 20, cpuReservationNanos: 500_000_000 };
    const { meta } = await world.client.services.create({ spec: web({ task: { resources } }) });
    const nodeId = await addNode(world, "edge-1.example", NodeStatus_State.READY, [
      {
        code: "PORT_IN_USE",
        subject: "80/tcp",
        message: "port 80/tcp is taken",
        remedy: "free it",
        command: "ss -lntp",
        since: at(0),
      },
    ]);
    const serviceId = meta?.id ?? "";
    await addTask(world, { serviceId, nodeId, status: { state: TaskState.RUNNING, at: at(1) } });
    await addTask(world, {
      serviceId,
      slot: 2,
      nodeId,
      status: { state: TaskState.PREPARING, at: at(2), message: "pulling" },
    });
    const explain = () => world.client.services.explain({ ref: "edge-1.example" });
    expect(await explain()).toMatchObject({
      kind: ObjectKind.NODE,
      summary: "node edge-1.example is ready and takes tasks; 1 of its 2 tasks runs",
      reasons: [
        { text: "port 80/tcp is taken", remedy: "free it", command: "ss -lntp" },
        { text: "web.2 waits: preparing: pulling", command: "warren why web.2" },
        { text: "its tasks reserve 1 of 0 CPUs and 128 MiB of 0 MiB" },
      ],
    });
    const { spec, specVersion } = await world.client.nodes.get({ ref: nodeId });
    await world.client.nodes.update({
      ref: nodeId,
      specVersion,
      spec: { labels: { zone: "north" }, ...spec, availability: NodeSpec_Availability.DRAIN },
    });
    const pending = { nodes: 1, refusals: [{ filter: "ready", nodes: 1, text: "drained" }], help: "" };
    await addTask(world, { serviceId, epoch: 2, status: { state: TaskState.PENDING, at: at(3), pending } });
    const { summary, reasons } = await explain();
    expect(summary).toBe("node edge-1.example is ready, but drained: it gets no tasks; 1 of its 2 tasks runs");
    expect(reasons.map(({ text }) => text)).toContain(
      "web.1 has nowhere to go: the only node can't take it (1: drained)",
    );
    expect(reasons.find(({ command }) => command === "warren node activate edge-1.example")).toBeDefined();
  });

  it("a network says who is on it, a published port where it leads, and what is none of them that there is none", async () => {
    const world = await control();
    const { client, store } = world;
    await client.networks.create({ spec: { name: "back" } });
    expect((await client.services.explain({ ref: "back" })).summary).toBe("no service is on network back");
    const ports = [{ target: 80, published: 8_080 }];
    await client.services.create({ spec: web({ ports, task: { networks: [{ network: "back" }] } }) });
    expect(await client.services.explain({ ref: "back" })).toMatchObject({
      kind: ObjectKind.NETWORK,
      summary: "network back connects 1 service: web",
      reasons: [{ text: "service web runs 0 of 1: starting 0/1", command: "warren why web" }],
    });
    await store.update((tx) => {
      const [found] = tx.find("services", "name", "web") as [Service];
      tx.update("services", { ...found, endpoint: { vip: "10.0.0.1", ports: found.spec?.ports ?? [] } });
    });
    for (const ref of ["8080", ":8080", "8080/tcp"])
      expect((await client.services.explain({ ref })).summary).toMatch(
        /^port 8080\/tcp leads to port 80 of service web, which runs 0 of 1/,
      );
    for (const ref of [":", ":0", ":99999", ":http", "70000/tcp"])
      expect((await failure(client.services.explain({ ref }))).message).toContain(`"${ref}" is no port`);
    for (const ref of ["8081", ":8081", "8080/udp"])
      expect((await failure(client.services.explain({ ref }))).message).toContain("no service publishes port 808");
  });
});
