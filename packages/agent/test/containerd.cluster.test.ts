/** The agent as a process on a real containerd, with a manager of the test's own. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import {
  AssignedService,
  LeaseState,
  RestartPolicy_Condition,
  TaskState,
  Version,
  type AssignedLease,
  type TaskSpec,
} from "@warren/api";
import { firstRun, leaseKey, taskIdOf } from "@warren/api/model";
import type { ApiServer } from "@warren/api/server";
import { startRuntimeBed, type RuntimeBed } from "@warren/runtime-containerd/testing";
import { seededRandom, until } from "@warren/std/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { FakeManager } from "../src/testing/index.ts";
import { serveManager } from "./fakes/serve-manager.ts";

let bed: RuntimeBed;
let image: string;
beforeAll(async () => {
  bed = await startRuntimeBed();
  image = await bed.push("agent/box:1");
});
afterAll(() => bed?.[Symbol.asyncDispose]());

type SpecInput = NonNullable<Parameters<typeof TaskSpec.fromPartial>[0]>;

interface Given {
  readonly key: string;
  readonly task: string;
  readonly lease: AssignedLease;
}

let nodes = 0;

/** A node whose containers are real, and whose worker is a process. */
class Node implements AsyncDisposable {
  readonly manager: FakeManager = new FakeManager();
  readonly #folder = join(bed.containerd.directory, `agent-${(nodes += 1)}`);
  #server: ApiServer | undefined;
  #worker: ChildProcess | undefined;
  #leases = 0;

  async start(): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    const socket = join(this.#folder, "manager.sock");
    this.#server ??= await serveManager(this.manager, socket);
    const program = join(import.meta.dirname, "fakes/worker-process.ts");
    const args = ["--conditions=warren-source", program, socket, this.#folder, JSON.stringify(bed.options)];
    const { length } = this.manager.completes;
    this.#worker = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
    await until("the worker is assigned what there is", () => this.manager.completes.length > length, 30_000);
  }

  async kill(signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<void> {
    const worker = this.#worker;
    if (worker === undefined) return;
    this.#worker = undefined;
    worker.kill(signal);
    await once(worker, "exit");
  }

  loseRecord(): Promise<void> {
    return rm(join(this.#folder, "state"), { recursive: true });
  }

  service(condition: RestartPolicy_Condition): void {
    const service = AssignedService.fromPartial({ id: "svc", name: "web", restart: { condition, delayMs: 200 } });
    this.manager.assign("service", "svc", service);
  }

  offer(script: string, spec: SpecInput = {}): Given {
    const index = (this.#leases += 1);
    const container = { image, command: ["/bin/sh", "-c", script], stopGraceMs: 500, ...spec.container };
    const version = Version.fromPartial({ meta: { id: `v${index}` }, task: { ...spec, container } });
    this.manager.assign("version", `v${index}`, version);
    const [slotId, epoch] = [`svc.${index}`, { reign: 7, index }];
    const lease = {
      slotId,
      epoch,
      versionId: `v${index}`,
      state: LeaseState.OFFERED,
      address: `10.77.1.${index + 1}`,
      after: undefined,
      initialRecord: undefined,
      offeredLife: 0,
    };
    this.manager.lease(lease);
    return { key: leaseKey(slotId, epoch), task: taskIdOf(slotId, epoch, firstRun), lease };
  }

  /** Offers a lease, and has it held once it is prepared. */
  async give(script: string, spec: SpecInput = {}): Promise<Given> {
    const given = this.offer(script, spec);
    await this.untilState(given.task, TaskState.READY);
    this.manager.setState(given.key, LeaseState.HELD);
    return given;
  }

  untilState(id: string, state: TaskState): Promise<unknown> {
    return until(`${id} is in ${state}`, () => (this.manager.states.get(id) ?? []).includes(state), 60_000);
  }

  /** Containers by the state that they are in, and the slot that they are of. */
  async containers(): Promise<string[]> {
    await using runtime = await bed.open();
    return (await runtime.list()).map(({ labels, state }) => `${labels["warren.slot-id"]} ${state.kind}`).toSorted();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const key of this.manager.leases.keys()) this.manager.setState(key, LeaseState.RELEASING);
    await until("all is released", () => this.manager.leases.size === 0, 60_000);
    await until("no container is left", async () => (await this.containers()).length === 0, 60_000);
    await this.kill();
    await this.#server?.close();
  }
}

const sleeps = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

test("a real run is probed, and ended with its lease, its exit code reported", async () => {
  await using node = new Node();
  node.service(RestartPolicy_Condition.ANY);
  await node.start();
  const healthCheck = {
    probe: { $case: "exec" as const, value: { command: ["/bin/sh", "-c", "test -e /tmp/ready"] } },
    intervalMs: 1_000,
    startPeriodMs: 60_000,
  };
  const given = await node.give(`sleep 0.5; touch /tmp/ready; ${sleeps}`, { container: { healthCheck } });
  await node.untilState(given.task, TaskState.RUNNING);
  expect(node.manager.states.get(given.task)).toContain(TaskState.STARTING);
  node.manager.setState(given.key, LeaseState.RELEASING);
  await node.untilState(given.task, TaskState.SHUTDOWN);
  expect(node.manager.statuses.get(given.task)?.container?.exitCode).toBe(0);
});

test("a real run that ends, or runs out of memory, is reported as such, and its log can be read", async () => {
  await using node = new Node();
  node.service(RestartPolicy_Condition.NONE);
  await node.start();
  const fails = await node.give("echo last words; exit 7");
  const eats = await node.give("exec tail /dev/zero", { resources: { memoryLimitBytes: 32 * 2 ** 20 } });
  await node.untilState(fails.task, TaskState.FAILED);
  await node.untilState(eats.task, TaskState.FAILED);
  expect(node.manager.statuses.get(fails.task)?.message).toBe("ended with exit code 7");
  expect(node.manager.statuses.get(eats.task)?.code).toBe("AGENT_OUT_OF_MEMORY");
  node.manager.relay({
    relayId: "log",
    what: { $case: "logs", value: { taskIds: [fails.task], follow: false, since: undefined } },
  });
  const relay = await until("the log is open", () => node.manager.relays.get("log"));
  await relay.ended;
  const lines = relay.up.flatMap(({ message }) => (message?.$case === "logs" ? message.value.lines : []));
  expect(lines.map(({ line }) => line.toString())).toEqual(["last words"]);
});

test("without a manager a real run is restarted, and its lease is rebuilt without a record", async () => {
  await using node = new Node();
  node.service(RestartPolicy_Condition.ANY);
  await node.start();
  const given = await node.give(sleeps);
  await node.untilState(given.task, TaskState.RUNNING);
  node.manager.disconnect();
  await using runtime = await bed.open();
  await runtime.kill(given.task, "KILL");
  const runs = async (): Promise<string | undefined> =>
    (await runtime.list()).find(({ id, state }) => id !== given.task && state.kind === "running")?.id;
  const second = await until("another run is there", runs, 60_000);
  await node.kill();
  await node.loseRecord();
  node.manager.reconnect();
  const { nodeId } = node.manager;
  await node.start();
  await node.untilState(second, TaskState.RUNNING);
  expect(node.manager.nodeId).toBe(nodeId);
  expect(await runs()).toBe(second);
});

test("a worker that is killed at any moment, again and again, ends with what was assigned and restarts nothing", async () => {
  await using node = new Node();
  node.service(RestartPolicy_Condition.ANY);
  const random = seededRandom(3);
  await node.start();
  const pids = new Map<string, number>();
  const given: Given[] = [];
  for (let round = 0; round < 10; round += 1) {
    for (let n = 0; n < 3; n += 1) {
      const one = node.offer(sleeps);
      given.push(one);
      node.manager.setState(one.key, LeaseState.HELD);
    }
    const [released, unassigned] = [given[(round - 2) * 3], given[(round - 3) * 3 + 1]];
    if (released !== undefined) node.manager.setState(released.key, LeaseState.RELEASING);
    if (unassigned !== undefined) node.manager.unassign("lease", unassigned.key);
    // The moment is the point of it: there is nothing to wait for.
    await new Promise((resolve) => setTimeout(resolve, random.int(800)));
    for (const [id, { container }] of node.manager.statuses) {
      const pid = container?.pid ?? 0;
      if (pid > 0) expect(pids.get(id) ?? pid).toBe(pid);
      if (pid > 0) pids.set(id, pid);
    }
    await node.kill();
    await node.start();
  }
  const held = (): Given[] => given.filter(({ key }) => node.manager.leases.get(key)?.state === LeaseState.HELD);
  const running = async (): Promise<string[]> => (await node.containers()).filter((each) => each.endsWith("running"));
  await until(
    "all is as wanted",
    async () =>
      (await running()).join() ===
      held()
        .map(({ lease }) => `${lease.slotId} running`)
        .toSorted()
        .join(),
    60_000,
  );
  // Nothing failed, and what had run was not begun again.
  const ended = [...node.manager.statuses.values()].filter(({ state }) => state > TaskState.SHUTDOWN);
  expect(ended).toEqual([]);
  for (const { key } of held()) expect(node.manager.reports.get(key)?.record?.restarts).toBe(0);
});
