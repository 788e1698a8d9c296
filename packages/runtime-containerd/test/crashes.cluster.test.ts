import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { RuntimeError, type ContainerEvent, type ExitStatus, type Runtime } from "@warren/runtime";
import { seededRandom, testSeed, until } from "@warren/std/testing";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Connection } from "../src/connection.ts";
import { Kind, SnapshotsService } from "../src/generated/containerd/snapshots.ts";
import { LeasesService } from "../src/generated/containerd/leases.ts";
import { startRuntimeBed, type RuntimeBed } from "../src/testing/index.ts";
import { linesOf, textOf } from "./bed.ts";

let bed: RuntimeBed;
let image: string;

beforeAll(async () => {
  bed = await startRuntimeBed();
  image = await bed.push("box:1");
  await using runtime = await bed.open();
  await runtime.pull(image);
});
afterEach(({ task }) => {
  // Otherwise what containerd said goes with its directory.
  if (task.result?.state === "fail") process.stderr.write(readFileSync(bed.containerd.logPath, "utf8").slice(-4000));
});
afterAll(() => bed?.[Symbol.asyncDispose]());

/** All that is left of containers but those of these ids, by kind. */
async function remains(keep: readonly string[]): Promise<Record<string, readonly string[]>> {
  const { options, containerd } = bed;
  const others = (names: readonly string[]): string[] => names.filter((name) => !keep.includes(name));
  const connection = new Connection(options.address, options.namespace);
  try {
    const snapshots: string[] = [];
    const request = { snapshotter: "overlayfs", filters: [] };
    for await (const { info } of connection.serverStream(SnapshotsService.list, request))
      snapshots.push(...info.filter(({ kind }) => kind !== Kind.COMMITTED).map(({ name }) => name));
    const { leases } = await connection.unary(LeasesService.list, { filters: [] });
    const processes = execFileSync("ps", ["-eo", "args"], { maxBuffer: 1 << 24 })
      .toString()
      .split("\n");
    const cgroup = join("/sys/fs/cgroup/memory", options.cgroupParent);
    return {
      snapshots: others(snapshots),
      leases: leases.map(({ id }) => id),
      directories: others(readdirSync(join(options.runDir, "containers"))),
      logs: others(readdirSync(join(options.dataDir, "logs"))),
      execs: readdirSync(join(options.runDir, "execs")),
      runc: others(readdirSync(join(options.runDir, "runc", options.namespace))),
      mounts: readFileSync("/proc/self/mountinfo", "utf8")
        .split("\n")
        .filter((line) => line.includes(containerd.directory) && !keep.some((id) => line.includes(`/${id}/`))),
      processes: processes.filter(
        (args) =>
          (args.includes(containerd.address) && !keep.some((id) => args.includes(`-id ${id} `))) ||
          (args.includes(options.dataDir) && args.startsWith("/") && !keep.some((id) => args.includes(`/${id}`))),
      ),
      cgroups: existsSync(cgroup) ? others(readdirSync(cgroup).filter((name) => name.startsWith("x-"))) : [],
    };
  } finally {
    connection.close();
  }
}

const nothing = {
  snapshots: [],
  leases: [],
  directories: [],
  logs: [],
  execs: [],
  runc: [],
  mounts: [],
  processes: [],
  cgroups: [],
};

const rounds = Number(process.env["WARREN_TEST_CRASHES"] ?? 12);

test(
  `${rounds} kills of worker or containerd at random leave nothing that list, remove and collectOrphans don't clear, and touch nothing that is kept`,
  async () => {
    const seed = testSeed();
    const random = seededRandom(seed);
    const worker = fileURLToPath(new URL("crash-worker.ts", import.meta.url));
    await using first = await bed.open();
    await first.create({ id: "kept", image, command: ["sleep", "3600"] });
    await first.start("kept");
    const pid = (await stateOf(first, "kept")) as { pid: number };
    for (let round = 0; round < rounds; round += 1) {
      const child = spawn(
        process.execPath,
        ["--conditions=warren-source", worker, JSON.stringify({ options: bed.options, image, round })],
        { stdio: ["ignore", "pipe", "inherit"] },
      );
      const ended = once(child, "exit");
      await once(child.stdout, "data");
      const daemonToo = random.next() < 0.5;
      // How long it lives is the fault that is drawn, not a wait for something.
      await new Promise((resolve) => setTimeout(resolve, random.next() * 300));
      if (daemonToo) {
        await bed.containerd.kill();
        await new Promise((resolve) => setTimeout(resolve, random.next() * 50));
      }
      child.kill("SIGKILL");
      await ended;
      if (daemonToo) await bed.containerd.restart();
      await using next = await bed.open();
      const listed = (await next.list()).filter(({ id }) => id !== "kept");
      // Half of them by what is listed, as a worker does with tasks that are no longer wanted; the rest as orphans.
      for (const { id } of listed.slice(0, listed.length / 2)) await next.remove(id);
      let found = {};
      await until(
        `nothing remains (seed ${seed}, round ${round})`,
        async () => {
          // Again, since containerd may still be at what the dead worker asked for last.
          await next.collectOrphans(new Set(["kept"]));
          found = await remains(["kept"]);
          return JSON.stringify(found) === JSON.stringify(nothing);
        },
        10_000,
      ).catch((error: unknown) =>
        expect({ found, error }, `seed ${seed}, round ${round}`).toEqual({ found: nothing, error: undefined }),
      );
    }
    await using last = await bed.open();
    expect((await last.list()).map(({ id }) => id)).toEqual(["kept"]);
    expect(await stateOf(last, "kept")).toEqual(pid);
    await last.remove("kept");
    await last.collectOrphans(new Set());
  },
  30_000 + rounds * 15_000,
);

async function stateOf(runtime: Runtime, id: string): Promise<unknown> {
  return (await runtime.list()).find((each) => each.id === id)?.state;
}

test("a container whose shim was killed is unknown, its log is there, and it can be removed", async () => {
  await using runtime = await bed.open();
  await runtime.create({ id: "shimless", image, command: ["/bin/sh", "-c", "echo begun; sleep 600"] });
  await runtime.start("shimless");
  const following = linesOf(runtime.logs("shimless", { follow: true }));
  const shims = execFileSync("ps", ["-eo", "pid,args"]).toString().split("\n");
  const shim = Number(
    shims
      .find((line) => line.includes("-id shimless "))
      ?.trim()
      .split(" ")[0],
  );
  const waiting = runtime.wait("shimless").catch((error: unknown) => error);
  process.kill(shim, "SIGKILL");
  await until("it is told", async () => ((await stateOf(runtime, "shimless")) as { kind: string }).kind === "unknown");
  expect(textOf(await following)).toBe("begun\n");
  // Either may be first: containerd tells an end that it made up, or loses the shim that was asked.
  expect(await waiting).toSatisfy(
    (told: unknown) => RuntimeError.is(told, "RUNTIME_WRONG_STATE") || (told as ExitStatus).code === 137,
  );
  await expect(runtime.start("shimless")).rejects.toMatchObject({ code: "RUNTIME_WRONG_STATE" });
  await runtime.remove("shimless");
  let found = {};
  await until("nothing remains", async () => {
    found = await remains([]);
    return JSON.stringify(found) === JSON.stringify(nothing);
  }).catch(() => expect(found).toEqual(nothing));
});

test("a container that has ended has no shim any more, and its exit and its log stay", async () => {
  await using runtime = await bed.open();
  await runtime.create({ id: "ended", image, command: ["/bin/sh", "-c", "echo said; exit 7"] });
  await runtime.start("ended");
  expect(await runtime.wait("ended")).toMatchObject({ code: 7, oomKilled: false });
  const shims = (): string[] =>
    execFileSync("ps", ["-eo", "args"])
      .toString()
      .split("\n")
      .filter((line) => line.includes("-id ended "));
  await until("its shim has gone", () => shims().length === 0);
  expect(await stateOf(runtime, "ended")).toMatchObject({ kind: "exited", exit: { code: 7 } });
  expect(await runtime.wait("ended")).toMatchObject({ code: 7 });
  expect(textOf(await linesOf(runtime.logs("ended")))).toBe("said\n");
  expect(textOf(await linesOf(runtime.logs("ended", { follow: true })))).toBe("said\n");
  await runtime.remove("ended");
  expect(await runtime.list()).toEqual([]);
});

test("a containerd that is killed and comes back has all, and a reader of events hears of it", async () => {
  await using runtime = await bed.open();
  await runtime.create({
    id: "through",
    image,
    command: ["/bin/sh", "-c", "trap 'exit 6' TERM; while :; do sleep 0.02; done"],
  });
  await runtime.start("through");
  const before = await stateOf(runtime, "through");
  const abort = new AbortController();
  const events: ContainerEvent[] = [];
  const breaks: unknown[] = [];
  const reading = (async (): Promise<void> => {
    while (!abort.signal.aborted)
      try {
        for await (const event of runtime.events(abort.signal)) events.push(event);
      } catch (error) {
        breaks.push(error);
      }
  })();
  await until("the stream begins", () => events.length === 1);
  await bed.containerd.kill();
  await until("the stream breaks", () => breaks.length > 0);
  await expect(runtime.list()).rejects.toMatchObject({ code: "RUNTIME_UNAVAILABLE" });
  await bed.containerd.restart();
  await until("it begins again", () => events.length === 2);
  expect(events).toEqual([{ kind: "lost" }, { kind: "lost" }]);
  expect(breaks).toMatchObject(Array.from(breaks, () => ({ code: "RUNTIME_UNAVAILABLE" })));
  expect(await stateOf(runtime, "through")).toEqual(before);
  await runtime.kill("through");
  await until("its end is told", () =>
    events.some((e) => e.kind === "exited" && e.id === "through" && e.exit.code === 6),
  );
  abort.abort();
  await reading;
  await runtime.remove("through");
});

test("a shim that containerd forgot ends when it is back, though its container stays for its log", async () => {
  await using runtime = await bed.open();
  await runtime.create({ id: "forgotten", image, command: ["sleep", "600"] });
  await runtime.start("forgotten");
  const shims = (): string[] =>
    execFileSync("ps", ["-eo", "args"])
      .toString()
      .split("\n")
      .filter((line) => line.includes("-id forgotten "));
  await bed.containerd.kill();
  const { directory } = bed.containerd;
  const bundle = join(directory, "state/io.containerd.runtime.v2.task", bed.options.namespace, "forgotten");
  // It is written last when a shim is started: a containerd that was killed before can't reach the shim.
  rmSync(join(bundle, "address"));
  await bed.containerd.restart();
  expect(await stateOf(runtime, "forgotten")).toEqual({ kind: "unknown", cause: "lost" });
  expect(shims()).toHaveLength(1);
  for await (const { kind } of runtime.events(new AbortController().signal)) {
    expect(kind).toBe("lost");
    break;
  }
  await until("its shim has gone", () => shims().length === 0);
  await runtime.remove("forgotten");
});

test("a reboot is survived: what was there is unknown, and goes", async () => {
  await using runtime = await bed.open();
  await runtime.create({ id: "rebooted", image, command: ["sleep", "600"] });
  // A reboot ends all processes and clears the run directory, and nothing else.
  execFileSync("umount", [(await runtime.list()).find(({ id }) => id === "rebooted")?.netnsPath ?? ""]);
  execFileSync("rm", ["-rf", join(bed.options.runDir, "containers/rebooted")]);
  // The machine itself was not started again, so it counts as lost.
  expect(await stateOf(runtime, "rebooted")).toEqual({ kind: "unknown", cause: "lost" });
  await runtime.remove("rebooted");
  await until("nothing remains", async () => JSON.stringify(await remains([])) === JSON.stringify(nothing));
});
