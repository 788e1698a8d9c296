/** From nothing to a service by two commands, and to nothing again by a third. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { openNetlink } from "@warren/netlink-napi";
import { startRuntimeBed } from "@warren/runtime-containerd/testing";
import { until } from "@warren/std/testing";

const run = promisify(execFile);
const program = join(import.meta.dirname, "../bin/warren.js");

async function freeAddress(): Promise<string> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return `127.0.0.1:${port}`;
}

/** Empty for one that has ended and that nobody has waited for. */
const cmdline = (pid: number): string => readFileSync(`/proc/${pid}/cmdline`, "utf8");

const get = async (address: string, path: string): Promise<readonly [number, string]> => {
  const response = await fetch(`http://${address}${path}`);
  return [response.status, await response.text()];
};

test("'cluster init' and 'service create' make a service; 'cluster leave' leaves nothing of it", async () => {
  await using bed = await startRuntimeBed();
  const { address } = bed.options;
  const [dataDir, runDir] = ["warren-data", "warren-run"].map((name) => join(bed.containerd.directory, name)) as [
    string,
    string,
  ];
  const folders = ["--data-dir", dataDir, "--run-dir", runDir];
  const env = { ...process.env, WARREN_HOST: `unix:${join(runDir, "manager.sock")}` };
  const warren = async (...args: string[]): Promise<string> =>
    (await run(process.execPath, [program, ...args], { env })).stdout;
  const managerAt = await freeAddress();
  const workerAt = await freeAddress();
  const init = [
    "cluster",
    "init",
    ...folders,
    "--manager-flags",
    `--metrics-addr ${managerAt}`,
    "--worker-flags",
    `--metrics-addr ${workerAt} --containerd ${address} --containerd-namespace two-commands`,
  ];
  const image = await bed.push("two/commands:1", { config: { Cmd: ["sleep", "1000000"], StopSignal: "SIGKILL" } });
  const nets = async (): Promise<unknown> => [
    (await openNetlink().links()).map(({ name }) => name).filter((name) => name.startsWith("wr")),
    (await run("nft", ["list", "tables"])).stdout.includes("warren"),
  ];

  const id = (await warren(...init)).trim();
  try {
    await warren("service", "create", "web", "--image", image, "--replicas", "3");
    const tasks = await warren("service", "tasks", "web");
    for (const name of ["web.1", "web.2", "web.3"]) expect(tasks).toMatch(new RegExp(`^${name} .* running `, "m"));
    // Given again it tells what there is; after one of the two has gone it brings that one back, and no task notices.
    await expect(warren(...init)).rejects.toThrow("warren cluster info");
    const pidOf = (name: string): number => Number(readFileSync(join(runDir, `${name}.pid`), "utf8"));
    const manager = pidOf("manager");
    const worker = pidOf("worker");
    process.kill(worker, "SIGKILL");
    await until("the worker is gone", () => !existsSync(`/proc/${worker}/cmdline`) || cmdline(worker) === "");
    await expect(warren(...init, "--task-pool", "10.99.0.0/16")).rejects.toThrow(
      "--task-pool: the cluster that is here",
    );
    expect((await warren(...init)).trim()).toBe(id);
    expect(pidOf("manager")).toBe(manager);
    expect(pidOf("worker")).not.toBe(worker);
    expect(await warren("service", "tasks", "web")).not.toMatch(/failed|lost/);

    for (const at of [managerAt, workerAt]) {
      await until(`${at} is ready`, async () => (await get(at, "/readyz"))[0] === 200, 20_000);
      expect(await get(at, "/healthz")).toEqual([200, "ok\n"]);
      expect((await get(at, "/metrics"))[1]).toMatch(/^# TYPE warren_\w+ \w+$/m);
    }

    // A cleaner of temporary files takes pid files and sockets: nothing is started beside what runs, nor taken from it.
    const daemons = [manager, pidOf("worker")] as const;
    rmSync(join(runDir, "manager.sock"));
    await expect(warren(...init)).rejects.toThrow(`its socket in ${runDir} is gone`);
    for (const name of ["manager.pid", "worker.pid"]) rmSync(join(runDir, name));
    await expect(warren(...init)).rejects.toThrow(`end it (kill ${daemons[0]})`);
    await expect(warren("cluster", "leave", ...folders, "--force")).rejects.toThrow(`end it (kill ${daemons[1]})`);
    for (const pid of daemons) process.kill(pid, "SIGTERM");
    for (const pid of daemons)
      await until("it has ended", () => !existsSync(`/proc/${pid}/cmdline`) || cmdline(pid) === "", 20_000);
  } finally {
    await warren(
      "cluster",
      "leave",
      ...folders,
      "--force",
      "--volumes",
      "--containerd",
      address,
      "--containerd-namespace",
      "two-commands",
    );
  }
  expect(await nets()).toEqual([[], false]);
  expect(existsSync(runDir)).toBe(false);
  expect(existsSync(dataDir)).toBe(false);
  expect((await run("ctr", ["--address", address, "namespaces", "list", "--quiet"])).stdout).not.toContain(
    "two-commands",
  );
  await using runtime = await bed.open({}, { namespace: "two-commands" });
  expect(await runtime.list()).toEqual([]);
  expect(await runtime.images()).toEqual([]);
});

test("'cluster leave' leaves nothing of a worker that never ran", async () => {
  const home = await mkdtemp(join(tmpdir(), "warren-never-"));
  const folders = ["--data-dir", join(home, "data"), "--run-dir", join(home, "run")];
  const flags = ["--manager-flags", "--metrics-addr off", "--worker-flags", "--metrics-addr 192.0.2.1:1"];
  await expect(run(process.execPath, [program, "cluster", "init", ...folders, ...flags])).rejects.toThrow(
    "the worker has ended",
  );
  await run(process.execPath, [program, "cluster", "leave", ...folders, "--force"]);
  expect(readdirSync(home)).toEqual([]);
  rmSync(home, { recursive: true });
});
