/** A snapshot as a file: it says what it is, damage is found, and a new group begins with it. */
import { buffer } from "node:stream/consumers";

import { until } from "@warren/std/testing";
import { describe, expect, test } from "vitest";

import { importSnapshot, memoryDisk, MemoryNetwork, verifySnapshot, type Member } from "../../src/index.ts";
import { leaderOf, members, openStorage, startGroup, startMember } from "./group.ts";
import { put } from "./key-value-machine.ts";

async function* chunksOf(file: Uint8Array, size = 100): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < file.length; at += size) yield file.subarray(at, at + size);
}

/** A file of a group with 20 keys and a session, in which command 1 was applied. */
async function exported(): Promise<{ file: Buffer; session: number; index: number }> {
  const { leader } = await startGroup();
  const session = await leader.node.openSession();
  await leader.node.proposeInSession(session, 1, 0, put("once", "1"));
  for (let i = 0; i < 20; i++) await leader.node.propose(put(`k${i}`, "v"));
  const { head, chunks } = await leader.node.exportSnapshot();
  return { file: await buffer(chunks), session, index: head.index };
}

test("an exported snapshot says what it is, in its first lines", async () => {
  const { file, index } = await exported();
  const [title, head, checksum] = file.toString("latin1").split("\n");
  expect(title).toBe("snapshot of a group of @warren/raft");
  expect(JSON.parse(head!)).toMatchObject({ level: 1, clusterId: "test", index, confState: { voters: [1, 2, 3] } });
  expect(checksum).toMatch(/^[0-9a-f]{8}$/u);
  expect(await verifySnapshot(chunksOf(file))).toEqual(JSON.parse(head!));
});

test("it is read to its end though newer snapshots replace its file meanwhile", async () => {
  const { leader } = await startGroup();
  // More than what is read beforehand.
  await leader.node.propose(put("large", "v".repeat(200_000)));
  const { chunks } = await leader.node.exportSnapshot();
  for (let i = 0; i < 5; i++) {
    await leader.node.propose(put(`k${i}`, "v"));
    await leader.node.takeSnapshot();
  }
  await verifySnapshot(chunks);
});

describe("import", () => {
  const after: Member[] = [members[0]!, { id: 4, address: "member-4" }];

  test("begins a new group with its state and sessions, which others join and old voters can't", async () => {
    const { file, session, index } = await exported();
    const disk = memoryDisk();
    const plan = await importSnapshot(
      { storage: await openStorage(disk, 1, "new") },
      { chunks: chunksOf(file), members: after, dryRun: true },
    );
    expect(plan).toMatchObject({ head: { index }, after: { voters: [1], learners: [4] } });
    // Nothing happened yet, so it can be done.
    expect(
      await importSnapshot(
        { storage: await openStorage(disk, 1, "new") },
        { chunks: chunksOf(file, 7), members: after },
      ),
    ).toEqual(plan);
    const network = new MemoryNetwork();
    const first = await startMember(network, 1, {}, { disk, clusterId: "new" });
    await leaderOf([first]);
    expect(first.fsm.state.size).toBe(21);
    await first.node.proposeInSession(session, 1, 0, put("once", "1"));
    expect(first.fsm.applications.get("once")).toBe(1);
    const second = await startMember(network, 4, { join: [members[0]!] }, { clusterId: "new" });
    await until("it has all", () => second.fsm.state.size === 21);
    const old = await startMember(network, 2, { bootstrap: members });
    await until("the old voter is refused", () =>
      old.node.status().refusals.some(({ why }) => why.includes("cluster")),
    );
  });

  test("of a file that is damaged anywhere, or cut, changes nothing and says so", async () => {
    const { file } = await exported();
    const disk = memoryDisk();
    const headEnd = file.indexOf("\n", file.indexOf("\n") + 1);
    for (const [what, bytes] of [
      ["its title", flipped(file, 3)],
      ["its head", flipped(file, 60)],
      ["the checksum of its head", flipped(file, headEnd + 1)],
      ["its state", flipped(file, file.length - 5)],
      ["cut in its head", file.subarray(0, 60)],
      ["cut", file.subarray(0, file.length - 1)],
      ["with bytes behind it", Buffer.concat([file, Buffer.from("x")])],
      ["nothing", Buffer.alloc(0)],
      ["another file", Buffer.from("a line\n{}\n0\n")],
    ] as const) {
      for (const dryRun of [true, false]) {
        const storage = await openStorage(disk, 1, "new");
        const done = importSnapshot({ storage }, { chunks: chunksOf(bytes), members: after, dryRun });
        await expect(done, what).rejects.toMatchObject({ code: "RAFT_EXPORT_INVALID" });
      }
    }
    const storage = await openStorage(disk, 1, "new");
    expect([storage.lastIndex(), storage.snapshots()]).toEqual([0, []]);
    await storage.close();
    expect(await disk.list()).toEqual(["tail"]);
  });

  test("of a level that this program does not read is refused by name", async () => {
    const { file } = await exported();
    const text = file.toString("latin1").replace('"level":1', '"level":9');
    const { crc32 } = await import("node:zlib");
    const lines = `${text.split("\n").slice(0, 2).join("\n")}\n`;
    const forged = Buffer.from(`${lines}${crc32(lines).toString(16).padStart(8, "0")}\n`);
    const storage = await openStorage(memoryDisk(), 1, "new");
    await expect(importSnapshot({ storage }, { chunks: chunksOf(forged), members: after })).rejects.toMatchObject({
      code: "RAFT_LEVEL_UNREADABLE",
      failure: { found: 9 },
    });
  });

  test("that makes no sense is refused and says why", async () => {
    const { file } = await exported();
    const used = memoryDisk();
    await importSnapshot({ storage: await openStorage(used, 1, "new") }, { chunks: chunksOf(file), members: after });
    for (const [disk, clusterId, list, argument] of [
      [used, "new", after, "storage"],
      [memoryDisk(), "test", after, "clusterId"],
      [memoryDisk(), "new", after.slice(1), "members"],
      [memoryDisk(), "new", [...after, after[0]!], "members"],
      [memoryDisk(), "new", [after[0]!, { id: 0, address: "nowhere" }], "members"],
    ] as const) {
      const storage = await openStorage(disk, 1, clusterId);
      await expect(importSnapshot({ storage }, { chunks: chunksOf(file), members: list })).rejects.toMatchObject({
        code: "RAFT_ARGUMENT_INVALID",
        failure: { argument },
      });
    }
  });
});

function flipped(file: Buffer, at: number): Buffer {
  const copy = Buffer.from(file);
  copy[at]! ^= 1;
  return copy;
}
