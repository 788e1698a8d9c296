/** The fixtures in the tree, by their level. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";

import type { Sample } from "./samples.ts";

const suffix = ".bin";

export async function readFixtures(level: number): Promise<{ readonly sample: Sample; readonly expected: string }[]> {
  const folder = join(import.meta.dirname, `level-${level}`);
  const names = (await readdir(folder)).filter((name) => name.endsWith(suffix)).map((name) => name.slice(0, -4));
  return Promise.all(
    names.map(async (name) => ({
      sample: { name, bytes: await readFile(join(folder, name + suffix)) },
      expected: await readFile(join(folder, `${name}.json`), "utf8"),
    })),
  );
}

export async function expectedDirectory(level: number): Promise<string> {
  return readFile(join(import.meta.dirname, `level-${level}`, "directory.json"), "utf8");
}

/** A copy of the level's directory that a member may open. */
export async function restoreDirectory(level: number): Promise<AsyncDisposable & { readonly path: string }> {
  const folder = join(import.meta.dirname, `level-${level}`, "directory");
  const path = await mkdtemp(join(tmpdir(), "raft-fixture-"));
  for (const file of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!file.isFile()) continue;
    const from = join(file.parentPath, file.name);
    const to = join(path, relative(folder, from).slice(0, -suffix.length));
    await mkdir(dirname(to), { recursive: true });
    await writeFile(to, await readFile(from));
  }
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}
