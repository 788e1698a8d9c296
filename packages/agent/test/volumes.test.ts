import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Mount } from "@warren/api";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Volumes } from "../src/volumes.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "warren-volumes-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const volume = (name: string): Mount[] => [
  Mount.fromPartial({ source: { $case: "volume", value: { name } }, target: "/data" }),
];

test("a named volume is a folder, created at its first use, writable in containers and closed to other users", async () => {
  const volumes = new Volumes(folder);
  const [mount] = await volumes.resolve(volume("db"));
  const path = join(folder, "volumes", "db");
  expect(mount).toEqual({ kind: "bind", source: path, target: "/data", readOnly: false, fill: true });
  expect((await stat(path)).mode & 0o777).toBe(0o777);
  expect((await stat(join(folder, "volumes"))).mode & 0o777).toBe(0o700);
  expect(await volumes.resolve(volume("db"))).toEqual([mount]);
});

test.each(["", "..", "a/b", "-x"])('"%s" is no name of a volume', async (name) => {
  await expect(new Volumes(folder).resolve(volume(name))).rejects.toMatchObject({ code: "AGENT_SPEC_INVALID" });
});

test("a volume that can't be created and a missing bind source are refused with the reason", async () => {
  const bind = Mount.fromPartial({ source: { $case: "bind", value: { path: `${folder}/none` } }, target: "/b" });
  await expect(new Volumes(folder).resolve([bind])).rejects.toMatchObject({
    failure: { code: "AGENT_BIND_MISSING", path: `${folder}/none` },
  });
  await writeFile(join(folder, "volumes"), "a file where a folder should be");
  await expect(new Volumes(folder).resolve(volume("db"))).rejects.toMatchObject({ code: "AGENT_VOLUME_FAILED" });
  await expect(new Volumes(folder).resolve([Mount.fromPartial({ target: "/n" })])).rejects.toMatchObject({
    code: "AGENT_SPEC_INVALID",
  });
  const tmpfs = Mount.fromPartial({ source: { $case: "tmpfs", value: {} }, target: "/t", readOnly: true });
  await expect(new Volumes(folder).resolve([tmpfs])).rejects.toMatchObject({ code: "AGENT_SPEC_INVALID" });
});
