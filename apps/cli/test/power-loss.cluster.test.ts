/** What a command was told is done is there after power loss, of the manager's disk with all that was not synced gone. */
import { mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { seededRandom, until } from "@warren/std/testing";
import {
  buildDiskJournal,
  readJournal,
  ReplayedDisk,
  type Kept,
} from "../../../packages/raft/test/cluster/disk-journal.ts";
import { Machine } from "./machine.ts";

test("services that were acknowledged outlive the loss of the log's unsynced tail", { timeout: 120_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), "warren-power-loss-"));
  const library = await buildDiskJournal(folder);
  const journal = join(folder, "journal");
  try {
    await using machine = await Machine.start({
      managerEnv: (dataDir) => ({
        LD_PRELOAD: library,
        JOURNAL_ROOT: join(dataDir, "manager"),
        JOURNAL_FILE: journal,
      }),
    });
    const state = join(machine.dataDir, "manager");
    const image = await machine.push("power/base:1", { config: { Cmd: ["sleep", "1000000"], StopSignal: "SIGKILL" } });
    await machine.ok("service", "create", "steady", "--image", image, "--replicas", "2");
    const steady = (await machine.running("steady")).map(({ status }) => status?.container?.pid);
    /** Name and moment, of the clock that the journal is by. */
    const acknowledged: { readonly name: string; readonly ns: bigint }[] = [];
    const create = async (name: string): Promise<void> => {
      await machine.ok("service", "create", name, "--image", image, "--replicas", "0", "--detach");
      acknowledged.push({ name, ns: process.hrtime.bigint() });
    };
    for (let i = 0; i < 4; i++) await create(`one${i}`);
    await Promise.all(Array.from({ length: 8 }, (_, i) => create(`at-once${i}`)));
    await machine.killDaemon("worker");
    await machine.killDaemon("manager");
    // The manager's own log stands beside its state, and its name begins alike.
    const operations = (await readJournal(journal, state)).filter(({ path }) => !path.startsWith(".."));
    expect(operations.length).toBeGreaterThan(acknowledged.length);
    await rename(state, join(folder, "as-it-was"));

    /** The manager's disk if power had failed when the last of so many was acknowledged, and a manager on it. */
    const failAfter = async (count: number, kept: Kept): Promise<void> => {
      const moment = acknowledged[count - 1]?.ns ?? 0n;
      const disk = new ReplayedDisk();
      for (const operation of operations) if (operation.ns <= moment) disk.apply(operation, state);
      await machine.killDaemon("manager");
      await rm(state, { recursive: true, force: true });
      await disk.leave(state, kept, seededRandom(count));
      await machine.startDaemon("manager");
      const names = await until(
        "the manager answers",
        async () => {
          const { code, stdout } = await machine.warren("service", "list", "-o", "name");
          return code === 0 && stdout.trim().split("\n");
        },
        20_000,
      );
      for (const { name } of acknowledged.slice(0, count))
        expect(names, `after ${count}, ${kept} kept`).toContain(name);
    };
    for (const [count, kept] of [
      [1, "none"],
      [4, "some"],
      [7, "none"],
      [acknowledged.length, "none"],
    ] as const)
      await failAfter(count, kept);

    await machine.startDaemon("worker");
    await machine.nodeReady();
    await until("its tasks are known to run", async () => (await machine.running("steady")).length === 2, 20_000);
    expect((await machine.running("steady")).map(({ status }) => status?.container?.pid)).toEqual(steady);
    await machine.ok("service", "scale", "one0=1");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
