/** `warren-raft-dump`, as a process: what it prints of directories that are whole, in use, and damaged. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";

import { until } from "@warren/std/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { MemoryNetwork, openFileDisk } from "../../src/index.ts";
import { restoreDirectory } from "../fixtures/fixtures.ts";
import { closeMembers, leaderOf, members, startMember, type Running } from "../node/group.ts";
import { put } from "../node/key-value-machine.ts";

const run = promisify(execFile);
const program = join(import.meta.dirname, "../../src/dump/main.ts");
let folder: string;
let temporary: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "raft-dump-test-"));
  temporary = await mkdtemp(join(tmpdir(), "raft-dump-copies-"));
});

afterEach(async () => {
  await closeMembers();
  // Nothing of it stays.
  expect(await readdir(temporary)).toEqual([]);
  for (const made of [folder, temporary]) await rm(made, { recursive: true, maxRetries: 5 });
});

interface Dumped {
  readonly code: number;
  readonly lines: readonly string[];
  readonly stderr: string;
}

async function dump(...args: string[]): Promise<Dumped> {
  const flags = ["--conditions=warren-source", "--no-warnings", program, ...args];
  const env = { ...process.env, TMPDIR: temporary };
  const { code, stdout, stderr } = await run(process.execPath, flags, { env }).then(
    (done) => ({ code: 0, ...done }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  );
  return { code, lines: stdout.split("\n").slice(0, -1), stderr };
}

const damageOf = ({ lines }: Dumped): string[] =>
  lines.flatMap((line) => (line.startsWith("DAMAGE: ") ? [line.slice(8)] : []));

/** Every file's name and digest. */
async function digest(): Promise<string> {
  const hash = createHash("sha256");
  for (const file of (await readdir(folder, { recursive: true })).sort()) {
    const path = join(folder, file);
    if ((await stat(path)).isFile()) hash.update(file).update(await readFile(path));
  }
  return hash.digest("hex");
}

/** A member alone that has nothing more to do, with a snapshot, a session, and entries behind it in the journal. */
async function member(): Promise<Running> {
  const options = { bootstrap: members.slice(0, 1), trailingEntries: 100 };
  const made = await startMember(new MemoryNetwork(), 1, options, { disk: await openFileDisk(folder) });
  const { node } = await leaderOf([made]);
  // One is due for the new member; the other is behind it.
  await node.addLearner({ id: 2, address: "member-2" });
  await node.takeSnapshot();
  for (let i = 0; i < 10; i++) await node.propose(put(`k${i}`, "v"));
  const session = await node.openSession();
  const { index } = await node.proposeInSession(session, 1, 0, put("once", "1"));
  await until("the marker is written", async () =>
    (await readFile(join(folder, "tail"), "latin1")).includes(`"last":${index}}`),
  );
  return made;
}

test("it prints what a running member's directory holds, which it leaves as it is", async () => {
  const { node } = await member();
  const before = await digest();
  const { code, lines, stderr } = await dump("--data", folder);
  expect(await digest()).toBe(before);
  expect([stderr, code]).toEqual(["", 0]);
  const text = lines.join("\n");
  const { term } = node.status();
  expect(text).toMatch(/^member 1 of cluster "test", incarnation \S+, level 1$/mu);
  expect(text).toMatch(
    new RegExp(`^state: term ${term}, vote for 1, committed to \\d+, entries \\d+ to \\d+ \\(compacted`, "mu"),
  );
  expect(text).toMatch(/^journal: \d+ records, \d+ to \d+; \d+ of them not in LevelDB yet$/mu);
  expect(text).toMatch(
    /^snapshot \d+: term \d+, \d+ bytes, voters 1, learners 2, members 1=member-1 2=member-2, 0 sessions$/mu,
  );
  expect(text).toMatch(/^entry \d+: term \d+, command of member 1, 4 bytes "k9=v"$/mu);
  expect(text).toMatch(/^entry \d+: term \d+, command 1 in session \d+ of member 1, 6 bytes "once=1"/mu);
  expect(text).toMatch(/^entry \d+: term \d+, membership: learner 2, with 2=member-2/mu);
  expect(text).not.toContain("DAMAGE");
  // The member goes on.
  await node.propose(put("later", "1"));
});

test("while a member writes and compacts it still sees one moment", async () => {
  const options = { bootstrap: members.slice(0, 1), trailingEntries: 50, snapshotEntries: 100 };
  const disk = await openFileDisk(folder, { writeBufferBytes: 64 * 1024 });
  const made = await startMember(new MemoryNetwork(), 1, options, { disk });
  await leaderOf([made]);
  const stopped = new AbortController();
  const writing = (async () => {
    for (let i = 0; !stopped.signal.aborted; i++) {
      await Promise.all(Array.from({ length: 10 }, (_, at) => made.node.propose(put(`k${at}`, `${i}`.padEnd(2_000)))));
      // No faster than files can be copied; what is faster is refused by the program.
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  try {
    for (let round = 0; round < 3; round++) {
      const dumped = await until("a copy was made between two changes", async () => {
        const tried = await dump(folder);
        return !tried.stderr.includes("changes faster than it can be copied") && tried;
      });
      expect([dumped.stderr, damageOf(dumped), dumped.code]).toEqual(["", [], 0]);
    }
  } finally {
    stopped.abort();
    await writing;
  }
});

test("as JSON each line is an object, and a range of entries is that range", async () => {
  const { node } = await member();
  await node.close();
  const { lines } = await dump("--json", "--from", "11", "--to", "12", folder);
  const found = lines.map((line) => JSON.parse(line) as { kind: string; index?: number; content?: { data: string } });
  const entries = found.filter(({ kind }) => kind === "entry");
  expect(entries.map(({ index }) => index)).toEqual([11, 12]);
  expect(Buffer.from(entries[0]!.content!.data, "base64").toString()).toMatch(/^k\d=v$/u);
  expect(found.map(({ kind }) => kind)).toEqual(expect.arrayContaining(["identity", "state", "marker", "snapshot"]));
});

test("it reads directories of every level, as they lie in the tree", async () => {
  await using directory = await restoreDirectory(1);
  const dumped = await dump(directory.path);
  expect([dumped.stderr, damageOf(dumped), dumped.code]).toEqual(["", [], 0]);
  expect(dumped.lines.filter((line) => line.startsWith("entry ")).length).toBeGreaterThan(0);
});

describe("damage is named, and the rest is printed", () => {
  const flip = async (name: string, at: number): Promise<void> => {
    const path = join(folder, name);
    const bytes = await readFile(path);
    bytes[at < 0 ? bytes.length + at : at]! ^= 0xff;
    await writeFile(path, bytes);
  };
  const fileLike = async (like: RegExp): Promise<string> =>
    (await readdir(folder, { recursive: true })).find((name) => like.test(name))!;

  test.each<readonly [string, () => Promise<unknown>, RegExp]>([
    ["a snapshot", async () => flip(await fileLike(/^snapshot-\d+\.body$/u), -3), /^snapshot \d+ is damaged/u],
    ["a snapshot's head", async () => flip(await fileLike(/^snapshot-\d+\.head$/u), -3), /^snapshot \d+ is damaged/u],
    ["the journal's head", () => flip("journal", 1), /journal.*its head is damaged/u],
    ["a record of the journal", () => flip("journal", 512 * 2 + 20), /^record \d+ of the journal can't be read/u],
    ["the journal, gone", () => rm(join(folder, "journal")), /^the journal is gone/u],
    [
      "LevelDB's manifest",
      async () => truncate(join(folder, await fileLike(/MANIFEST/u)), 5),
      /^LevelDB does not open/u,
    ],
    ["LevelDB's pointer to it", () => rm(join(folder, "log/CURRENT")), /^LevelDB does not open/u],
    ["all of LevelDB", () => rm(join(folder, "log"), { recursive: true }), /^LevelDB does not open/u],
  ])("%s", async (_, harm, named) => {
    const made = await member();
    // As a kill leaves it: the journal is ahead.
    const image = new Map<string, Buffer>();
    for (const name of await readdir(folder, { recursive: true })) {
      const path = join(folder, name);
      if ((await stat(path)).isFile()) image.set(path, await readFile(path));
    }
    await made.node.close();
    for (const [path, bytes] of image) await writeFile(path, bytes);
    await harm();
    const before = await digest();
    const dumped = await dump(folder);
    expect(damageOf(dumped).join("\n")).toMatch(new RegExp(named.source, `${named.flags}m`));
    expect([dumped.stderr, dumped.code]).toEqual(["", 1]);
    expect(dumped.lines.length).toBeGreaterThan(damageOf(dumped).length);
    expect(await digest()).toBe(before);
  });
});

test("an exported snapshot is told apart, sound or damaged", async () => {
  const { node } = await member();
  const { chunks } = await node.exportSnapshot();
  await node.close();
  const file = join(folder, "exported");
  await pipeline(chunks, createWriteStream(file));
  const sound = await dump(file);
  expect(sound.lines).toEqual([
    expect.stringMatching(
      /^exported snapshot of cluster "test", 20\S+Z: index \d+, term \d+, level 1, \d+ bytes, voters 1/u,
    ),
  ]);
  expect(sound.code).toBe(0);
  await truncate(file, (await stat(file)).size - 1);
  const cut = await dump(file);
  expect([damageOf(cut).length, cut.code]).toEqual([1, 1]);
});

test("what can't be read, or is asked for in a way that makes no sense, says so", async () => {
  expect(await dump()).toMatchObject({ code: 2, stderr: /^usage: /u });
  expect(await dump("--from", "x", folder)).toMatchObject({ code: 2, stderr: /--from is "x"/u });
  expect(await dump(folder)).toMatchObject({ code: 2, stderr: /is no member's directory/u });
  expect(await dump(join(folder, "nowhere"))).toMatchObject({ code: 2, stderr: /ENOENT/u });
  expect(await dump("--help")).toMatchObject({ code: 0 });
});
