import { mkdtemp, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
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

test("volumes are listed by name, and what is none is not", async () => {
  const volumes = new Volumes(folder);
  expect(await volumes.list()).toEqual([]);
  await volumes.resolve([...volume("web"), ...volume("db")]);
  await writeFile(join(folder, "volumes", "file"), "");
  expect((await volumes.list()).map(({ name, path }) => [name, path])).toEqual([
    ["db", join(folder, "volumes", "db")],
    ["web", join(folder, "volumes", "web")],
  ]);
});

test("a volume is deleted with all that is in it, and what a link in it leads to stays", async () => {
  const volumes = new Volumes(folder);
  await volumes.resolve(volume("db"));
  await writeFile(join(folder, "outside"), "stays");
  await symlink(folder, join(folder, "volumes", "db", "link"));
  expect(await volumes.delete("db", () => true)).toBe("used");
  expect(await volumes.delete("../outside", () => false)).toBe("missing");
  expect(await volumes.delete("db", () => false)).toBe("deleted");
  expect(await volumes.delete("db", () => false)).toBe("missing");
  expect(await volumes.list()).toEqual([]);
  expect(await readFile(join(folder, "outside"), "utf8")).toBe("stays");
});

test("a volume that a task came to use while it was being deleted is back as it was", async () => {
  const volumes = new Volumes(folder);
  await volumes.resolve(volume("db"));
  await writeFile(join(folder, "volumes", "db", "data"), "kept");
  let asked = 0;
  expect(await volumes.delete("db", () => (asked += 1) > 1)).toBe("used");
  expect(await readFile(join(folder, "volumes", "db", "data"), "utf8")).toBe("kept");
});
