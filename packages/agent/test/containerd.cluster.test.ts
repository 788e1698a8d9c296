/** The agent as a process on a real containerd, with a manager of the test's own. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { TaskState } from "@warren/api";
import type { ApiServer } from "@warren/api/server";
import { startRuntimeBed, type RuntimeBed } from "@warren/runtime-containerd/testing";
import { seededRandom, until } from "@warren/std/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { FakeManager } from "./fakes/fake-manager.ts";
import { serveManager } from "./fakes/serve-manager.ts";
import { task } from "./fakes/world.ts";

let bed: RuntimeBed;
let image: string;
beforeAll(async () => {
  bed = await startRuntimeBed();
  image = await bed.push("agent/box:1");
});
afterAll(() => bed?.[Symbol.asyncDispose]());

let nodes = 0;

/** A node whose containers are real, and whose worker is a process. */
class Node implements AsyncDisposable {
  readonly manager: FakeManager = new FakeManager();
  readonly #folder = join(bed.containerd.directory, `agent-${(nodes += 1)}`);
  #server: ApiServer | undefined;
  #worker: ChildProcess | undefined;

  async start(): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    const socket = join(this.#folder, "manager.sock");
    this.#server ??= await serveManager(this.manager, socket);
    const program = join(import.meta.dirname, "fakes/worker-process.ts");
    const args = ["--conditions=warren-source", program, socket, this.#folder, JSON.stringify(bed.options)];
    const { sessions } = this.manager;
    this.#worker = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
    await until("the worker has a session", () => this.manager.sessions > sessions, 30_000);
  }

  async kill(): Promise<void> {
    const worker = this.#worker;
    if (worker === undefined) return;
    this.#worker = undefined;
    worker.kill("SIGKILL");
    await once(worker, "exit");
  }

  assign(id: string, script: string, more: Parameters<typeof task>[1] = {}): void {
    const container = { image, command: ["/bin/sh", "-c", script], stopGraceMs: 500, ...more.spec?.container };
    this.manager.assign(task(id, { ...more, spec: { ...more.spec, container } }));
  }

  untilState(id: string, state: TaskState): Promise<unknown> {
    return until(`${id} is in ${state}`, () => this.manager.statuses.get(id)?.state === state, 60_000);
  }

  async containers(): Promise<string[]> {
    await using runtime = await bed.open();
    return (await runtime.list()).map(({ id, state }) => `${id} ${state.kind}`).toSorted();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const id of this.manager.tasks.keys()) this.manager.remove(id);
    await until("all is gone", async () => (await this.containers()).length === 0, 60_000);
    await this.kill();
    await this.#server?.close();
  }
}

const sleeps = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

test("a real task is probed, told to stop, and its exit code told", async () => {
  await using node = new Node();
  await node.start();
  const healthCheck = {
    probe: { $case: "exec" as const, value: { command: ["/bin/sh", "-c", "test -e /tmp/ready"] } },
    intervalMs: 1_000,
    startPeriodMs: 60_000,
  };
  node.assign("healthy", `sleep 0.5; touch /tmp/ready; ${sleeps}`, { spec: { container: { healthCheck } } });
  await node.untilState("healthy", TaskState.RUNNING);
  expect(node.manager.told.get("healthy")).toContain(TaskState.STARTING);
  node.manager.desire("healthy", TaskState.SHUTDOWN);
  await node.untilState("healthy", TaskState.SHUTDOWN);
  expect(node.manager.statuses.get("healthy")?.container?.exitCode).toBe(0);
});

test("a real task that ends, or runs out of memory, is told as such, and its log is there to read", async () => {
  await using node = new Node();
  await node.start();
  node.assign("fails", "echo last words; exit 7");
  node.assign("eats", "exec tail /dev/zero", { spec: { resources: { memoryLimitBytes: 32 * 2 ** 20 } } });
  await node.untilState("fails", TaskState.FAILED);
  await node.untilState("eats", TaskState.FAILED);
  expect(node.manager.statuses.get("fails")?.message).toBe("ended with exit code 7");
  expect(node.manager.statuses.get("eats")?.code).toBe("AGENT_OUT_OF_MEMORY");
  node.manager.relay({
    relayId: "log",
    what: { $case: "logs", value: { taskIds: ["fails"], follow: false, since: undefined } },
  });
  const relay = await until("the log is open", () => node.manager.relays.get("log"));
  await relay.ended;
  const lines = relay.up.flatMap(({ message }) => (message?.$case === "logs" ? message.value.lines : []));
  expect(lines.map(({ line }) => line.toString())).toEqual(["last words"]);
});

test("killed at any moment, again and again, it leaves what was asked for and restarts nothing", async () => {
  await using node = new Node();
  const random = seededRandom(3);
  await node.start();
  const pids = new Map<string, number>();
  for (let round = 0; round < 15; round += 1) {
    for (let n = 0; n < 3; n += 1) node.assign(`r${round}-${n}`, sleeps, { slot: round * 3 + n });
    if (round > 1) node.manager.desire(`r${round - 2}-0`, TaskState.SHUTDOWN);
    if (round > 2) node.manager.remove(`r${round - 3}-1`);
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
  const wanted = [...node.manager.tasks.values()];
  await until(
    "all is as wanted",
    () =>
      wanted.every(({ id, desiredState }) => {
        const state = node.manager.statuses.get(id)?.state;
        return desiredState === TaskState.RUNNING ? state === TaskState.RUNNING : (state ?? 0) > TaskState.RUNNING;
      }),
    60_000,
  );
  const ids = new Set(wanted.map(({ id }) => id));
  await until("nothing else is there", async () =>
    (await node.containers()).every((each) => ids.has(each.split(" ")[0] ?? "")),
  );
  const failed = [...node.manager.statuses].filter(([id, { state }]) => ids.has(id) && state > TaskState.SHUTDOWN);
  expect(failed).toEqual([]);
  const running = wanted
    .filter(({ desiredState }) => desiredState === TaskState.RUNNING)
    .map(({ id }) => `${id} running`);
  expect((await node.containers()).filter((each) => each.endsWith("running"))).toEqual(running.toSorted());
});
