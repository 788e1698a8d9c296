/** What members take from their machine: syncs of the disk, memory, and the clock's word. */
import { execFile, spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

import { until } from "@warren/std/testing";
import { describe, expect, test } from "vitest";

import { Clients } from "./clients.ts";
import type { MemberStatus } from "./member.ts";
import { Processes, type MemberProcess } from "./processes.ts";

const run = promisify(execFile);
const status = async (member: MemberProcess): Promise<MemberStatus> =>
  (await member.ask({ do: "status" })) as MemberStatus;
const put = (member: MemberProcess, n: number): Promise<unknown> =>
  member.ask({ do: "act", operation: n, action: { kind: "put", key: `k${n}`, value: "v" } });

/** Each write to the journal is one: it is open so. */
const sync = / f(?:data)?sync\(| pwrite64\(\d+<[^>]*\/journal>/gu;

/** Counts the syncs of running members, by strace, until it is told to stop. */
async function countSyncs(processes: Processes): Promise<{ stop(): Promise<Map<number, number>> }> {
  const tracers = await Promise.all(
    processes.alive().map(async ({ id, child }) => {
      const file = join(processes.directory, `syncs-${id}`);
      const args = ["-f", "-p", String(child.pid), "-o", file, "-y", "-e", "trace=fsync,fdatasync,pwrite64"];
      const tracer = spawn("strace", args, { stdio: ["ignore", "ignore", "pipe"] });
      const attached = await new Promise<boolean>((resolve) => {
        tracer.stderr.once("data", () => resolve(true));
        tracer.once("exit", () => resolve(false));
      });
      expect(attached).toBe(true);
      return { id, file, tracer, ended: new Promise((resolve) => tracer.once("exit", resolve)) };
    }),
  );
  return {
    async stop() {
      const counts = tracers.map(async ({ id, file, tracer, ended }) => {
        tracer.kill("SIGINT");
        await ended;
        return [id, (await readFile(file, "utf8")).match(sync)?.length ?? 0] as const;
      });
      return new Map(await Promise.all(counts));
    },
  };
}

describe("syncs, counted by strace", () => {
  test("each write is synced by a majority before it is acknowledged; a thousand at once share theirs", async () => {
    await using processes = await Processes.make(3);
    const leader = await processes.leader();
    await put(leader, 0);
    const alone = await countSyncs(processes);
    for (let n = 1; n <= 40; n++) await put(leader, n);
    const apart = [...(await alone.stop()).values()].reduce((sum, count) => sum + count, 0);
    // One after the other: two members at least had to sync for each; none syncs twice for one.
    expect(apart).toBeGreaterThanOrEqual(2 * 40);
    expect(apart).toBeLessThanOrEqual(3 * 40 + 3);
    const together = await countSyncs(processes);
    await Promise.all(Array.from({ length: 1_000 }, (_, n) => put(leader, n)));
    const counts = await together.stop();
    expect(counts.get(leader.id)).toBeGreaterThan(0);
    for (const [id, count] of counts) expect(count, `member ${id}`).toBeLessThanOrEqual(100);
  });
});

describe("memory", () => {
  test("a snapshot of 256 MiB costs its sender and its receiver less than 64 MiB", async () => {
    const ballastBytes = 256 * 2 ** 20;
    await using processes = await Processes.make(3, {
      ballastBytes,
      options: { snapshotEntries: 50, trailingEntries: 5 },
    });
    const leader = await processes.leader();
    const victim = processes.alive().find(({ id }) => id !== leader.id)!;
    await victim.kill();
    for (let n = 0; n < 60; n++) await put(leader, n);
    await until("the leader has a snapshot", async () => (await status(leader)).snapshot >= 50, 30_000);
    const before = (await status(leader)).rss;
    const back = await processes.start(victim.id);
    const receiverBefore = (await status(back)).rss;
    let [most, receiverMost] = [before, receiverBefore];
    await until(
      "it has caught up",
      async () => {
        const [ours, theirs] = await Promise.all([status(leader), status(back)]);
        most = Math.max(most, ours.rss);
        receiverMost = Math.max(receiverMost, theirs.rss);
        return theirs.snapshot >= 50 && theirs.applied >= 60;
      },
      60_000,
    );
    expect((most - before) / 2 ** 20).toBeLessThan(64);
    expect((receiverMost - receiverBefore) / 2 ** 20).toBeLessThan(64);
    expect(await back.ask({ do: "read", key: "k59" })).toEqual({ output: "v" });
  });
});

describe("clocks", () => {
  test("wall clocks that jump by hours change nothing: no other leader, lease reads included", async () => {
    const library: { path?: string } = {};
    const processes: Processes = await Processes.prepare(3, {
      options: { reads: "lease" },
      env: (id) => ({ LD_PRELOAD: library.path!, CLOCK_FILE: join(processes.directory, `clock-${id}`) }),
    });
    await using _ = processes;
    library.path = join(processes.directory, "clock-jump.so");
    await run("cc", [
      "-shared",
      "-fPIC",
      "-O1",
      "-Wall",
      "-o",
      library.path,
      join(import.meta.dirname, "clock-jump.c"),
    ]);
    const jump = (id: number, seconds: number): Promise<void> => {
      const offset = Buffer.alloc(8);
      offset.writeBigInt64LE(BigInt(seconds));
      return writeFile(join(processes.directory, `clock-${id}`), offset, { flag: "r+" });
    };
    for (const id of [1, 2, 3]) await writeFile(join(processes.directory, `clock-${id}`), Buffer.alloc(8));
    await processes.startAll();
    const leader = await processes.leader();
    const { term } = await status(leader);
    const clients = new Clients(processes);
    await clients.progress();
    for (const [at, member] of processes.alive().entries()) {
      const seconds = at % 2 === 0 ? 3_600 : -7_200;
      await jump(member.id, seconds);
      expect(Math.abs((await status(member)).wallMs - Date.now() - seconds * 1_000)).toBeLessThan(60_000);
      await clients.progress();
    }
    await clients.stop();
    expect(leader.leadership).toMatchObject({ term, isLeader: true });
  });
});
