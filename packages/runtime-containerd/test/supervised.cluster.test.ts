import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RecordingLogger, until } from "@warren/std/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { connectContainerd, superviseContainerd, type SuperviseOptions } from "../src/index.ts";
import { pushImage, startPrivateContainerd, startRegistry } from "../src/testing/index.ts";

let home: string;
let options: SuperviseOptions;

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "warren-supervised-"));
  options = { systemAddress: join(home, "none.sock"), dataDir: join(home, "data"), runDir: join(home, "run") };
});
afterEach(() => {
  execFileSync("sh", ["-c", `grep ' ${home}/' /proc/self/mountinfo | cut -d' ' -f5 | xargs -r umount -l`]);
  rmSync(home, { recursive: true, force: true });
});

const pid = (): number => Number(readFileSync(join(home, "run/containerd.pid"), "utf8"));
const runs = (id: number): boolean =>
  readFileSync(`/proc/${id}/stat`, "utf8").split(") ")[1]?.startsWith("Z") === false;

test("where none answers one of our own is started, started again when it ends, and ended with us if told", async () => {
  const log = new RecordingLogger();
  const own = await superviseContainerd({ log }, { ...options, endWithUs: true });
  expect(own.own).toBe(true);
  await using runtime = await connectContainerd({}, { address: own.address });
  const first = pid();
  process.kill(first, "SIGKILL");
  await until(
    "another is there",
    () =>
      pid() !== first &&
      runtime.list().then(
        () => true,
        () => false,
      ),
  );
  expect(log.records.some(({ event }) => event.includes("started again"))).toBe(true);
  const second = pid();
  await own.close();
  await until("it has ended", () => {
    try {
      return !runs(second);
    } catch {
      return true;
    }
  });
});

test("it outlives us, with its containers, and the next finds it, whatever answers elsewhere", async () => {
  await using registry = await startRegistry();
  const image = await pushImage(registry, "box:1");
  const rt = { runDir: join(home, "rt"), dataDir: join(home, "rtdata"), cgroupParent: "warren-supervised" };
  const first = await superviseContainerd({}, options);
  {
    await using runtime = await connectContainerd({}, { address: first.address, ...rt });
    await runtime.pull(image);
    await runtime.create({ id: "stays", image, command: ["sleep", "600"] });
    await runtime.start("stays");
  }
  const daemon = pid();
  await first.close();
  expect(runs(daemon)).toBe(true);
  await using system = await startPrivateContainerd();
  const second = await superviseContainerd({}, { ...options, systemAddress: system.address, endWithUs: true });
  expect(second).toMatchObject({ own: true, address: first.address });
  expect(pid()).toBe(daemon);
  {
    await using runtime = await connectContainerd({}, { address: second.address, ...rt });
    expect(await runtime.list()).toMatchObject([{ id: "stays", state: { kind: "running" } }]);
    // One that we did not start ourselves is watched all the same.
    process.kill(daemon, "SIGKILL");
    await until(
      "another is there",
      () =>
        pid() !== daemon &&
        runtime.list().then(
          () => true,
          () => false,
        ),
    );
    expect(await runtime.list()).toMatchObject([{ id: "stays", state: { kind: "running" } }]);
    await runtime.collectOrphans(new Set());
  }
  await second.close();
});

test("the machine's own is used where it answers, and left alone", async () => {
  await using system = await startPrivateContainerd();
  const found = await superviseContainerd({}, { ...options, systemAddress: system.address, endWithUs: true });
  expect(found).toMatchObject({ own: false, address: system.address });
  await found.close();
  await using runtime = await connectContainerd({}, { address: system.address });
  expect(await runtime.list()).toEqual([]);
});

test("no program, or one that does not come up, is told with what to do", async () => {
  await expect(superviseContainerd({}, { ...options, program: "no-such-containerd" })).rejects.toMatchObject({
    code: "RUNTIME_UNAVAILABLE",
    message: expect.stringContaining("install containerd"),
  });
  const broken = join(home, "broken");
  writeFileSync(broken, "#!/bin/sh\nexit 3\n", { mode: 0o755 });
  await expect(superviseContainerd({}, { ...options, program: broken })).rejects.toMatchObject({
    code: "RUNTIME_UNAVAILABLE",
    message: expect.stringContaining("ended with 3"),
  });
});

const meta = "data/root/io.containerd.metadata.v1.bolt/meta.db";
const layers = "data/root/io.containerd.snapshotter.v1.overlayfs/metadata.db";

test.each<[string, (bytes: Buffer) => Buffer | undefined, string]>([
  ["cut short", (bytes) => bytes.subarray(0, 5_000), meta],
  ["overwritten at its head", (bytes) => Buffer.concat([Buffer.alloc(8_192, 0xa5), bytes.subarray(8_192)]), meta],
  ["overwritten in its middle", (bytes) => Buffer.from(bytes).fill(0, 8_192, bytes.length - 4_096), meta],
  ["empty", () => Buffer.alloc(0), meta],
  ["gone", () => undefined, meta],
  ["overwritten, of the layers", (bytes) => Buffer.alloc(bytes.length, 0x5a), layers],
])(
  "a database of our own containerd that is %s is set aside, and what runs goes on and is known",
  async (_, harm, file) => {
    await using registry = await startRegistry();
    const image = await pushImage(registry, "box:1");
    const rt = {
      runDir: join(home, "rt"),
      dataDir: join(home, "rtdata"),
      cgroupParent: `warren-damage-${process.pid}`,
    };
    const first = await superviseContainerd({}, { ...options, endWithUs: true });
    let running: number;
    {
      await using runtime = await connectContainerd({}, { address: first.address, ...rt });
      await runtime.pull(image);
      await runtime.create({ id: "goes-on", image, command: ["sleep", "3600"] });
      await runtime.start("goes-on");
      const [status] = await runtime.list();
      running = status?.state.kind === "running" ? status.state.pid : 0;
    }
    await first.close();
    const damaged = harm(readFileSync(join(home, file)));
    rmSync(join(home, file));
    if (damaged !== undefined) writeFileSync(join(home, file), damaged);
    const log = new RecordingLogger();
    await using second = await superviseContainerd({ log }, { ...options, endWithUs: true });
    expect(log.records.filter(({ event }) => event.includes("set aside"))).toHaveLength(1);
    expect(readdirSync(join(home, "data")).filter((name) => name.startsWith("root.damaged-"))).toHaveLength(1);
    // Nothing was ended by it.
    expect(runs(running)).toBe(true);
    await using runtime = await connectContainerd({}, { address: second.address, ...rt });
    expect(await runtime.list()).toMatchObject([{ id: "goes-on", state: { kind: "running", pid: running } }]);
    const beside = await runtime.exec("goes-on", { args: ["true"] });
    expect((await beside.exit).code).toBe(0);
    await runtime.pull(image);
    expect(runs(running)).toBe(true);
    await runtime.kill("goes-on", "KILL");
    expect(await runtime.wait("goes-on")).toMatchObject({ code: 137 });
    await runtime.remove("goes-on");
    await runtime.create({ id: "goes-on", image, command: ["sleep", "3600"] });
    await runtime.start("goes-on");
    await runtime.collectOrphans(new Set());
  },
);
