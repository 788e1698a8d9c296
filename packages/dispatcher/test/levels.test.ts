/** Messages of other levels are read, and unknown fields are kept and passed on. */
import { ReportRequest, TaskState, Version } from "@warren/api";
import { level, minLevel } from "@warren/api/model";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";

import { fixtureFolder, fixtures } from "./fixtures/write.ts";
import { harness, lease, names, nodeId, record, report, run, service, slot, version } from "./harness.ts";

const levels = Array.from({ length: level - minLevel + 1 }, (_, n) => minLevel + n);
/** Field 2,000, a varint, with the value 7. */
const laterField = Buffer.from([0x80, 0x7d, 0x07]);

test.each(levels)("messages of level %s are read, and encode to the same bytes", async (of) => {
  const files = await readdir(fixtureFolder(of));
  expect(files.length).toBeGreaterThan(0);
  for (const file of files) {
    const bytes = await readFile(join(fixtureFolder(of), file));
    const { again } = fixtures.find(({ name }) => `${name}.bin` === file)!;
    expect(Buffer.compare(again(bytes), bytes), file).toBe(0);
  }
});

test("messages of this level equal its fixtures", async () => {
  for (const { name, bytes } of fixtures)
    expect(Buffer.compare(bytes, await readFile(join(fixtureFolder(), `${name}.bin`))), name).toBe(0);
});

test("unknown fields of a version are sent to the worker", async () => {
  await using h = await harness();
  const known = Version.encode(version("web")).finish();
  const later = Version.decode(Buffer.concat([known, laterField]));
  await h.store.update((tx) => {
    tx.create("versions", later);
    tx.create("services", service("web"));
    tx.create("slots", slot("web", 1, [lease(nodeId("a"))]));
  });
  const message = await (await h.worker("a")).assignments().next(1);
  const sent = message.changes[names(message).split(" ").indexOf("version:v-web")]!.object!;
  expect(sent.includes(laterField)).toBe(true);
});

test("unknown fields in a slot's record are stored", async () => {
  await using h = await harness();
  await h.store.update((tx) => {
    tx.create("versions", version("web"));
    tx.create("services", service("web"));
    tx.create("slots", slot("web", 1, [lease(nodeId("a"))]));
  });
  const worker = await h.worker("a");
  const runs = [run(TaskState.RUNNING)];
  const request = ReportRequest.create({ leases: [report("web.1", "HELD", { record: record({ runs: 1 }), runs })] });
  const [added] = request.leases;
  const later = { ...added!, record: { ...added!.record!, _unknownFields: { 16_000: [Buffer.from([7])] } } };
  await worker.report(later);
  expect(h.store.view().resolve("slots", "web.1").leases[0]!.record).toMatchObject({
    runs: 1,
    _unknownFields: { 16_000: [Uint8Array.of(7)] },
  });
});
