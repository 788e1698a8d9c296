import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

import { afterAll, beforeAll, expect, test } from "vitest";

const run = promisify(execFile);
const raft = join(import.meta.dirname, "../..");
const std = join(raft, "../std");
const typescript = join(raft, "../../node_modules/typescript/bin/tsc");
let project: string;

/** Packs a package as it would be published, and unpacks it where an installation would put it. */
async function install(folder: string, name: string): Promise<void> {
  await run("pnpm", ["run", "build"], { cwd: folder });
  const packed = await mkdtemp(join(tmpdir(), "packed-"));
  await run("pnpm", ["pack", "--pack-destination", packed], { cwd: folder });
  const [tarball] = await readdir(packed);
  const target = join(project, "node_modules", name);
  await mkdir(target, { recursive: true });
  await run("tar", ["-xzf", join(packed, tarball!), "-C", target, "--strip-components=1"]);
  await rm(packed, { recursive: true });
}

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "empty-project-"));
  await writeFile(join(project, "package.json"), '{ "name": "empty-project", "type": "module" }');
  await install(std, "@warren/std");
  await install(raft, "@warren/raft");
  // What it depends on, as any installation would bring it.
  const { dependencies } = JSON.parse(await readFile(join(raft, "package.json"), "utf8")) as {
    dependencies: Record<string, string>;
  };
  for (const name of [...Object.keys(dependencies), "@types/node"].filter((other) => !other.startsWith("@warren/"))) {
    const held = name === "@types/node" ? join(raft, "../../node_modules", name) : join(raft, "node_modules", name);
    await mkdir(dirname(join(project, "node_modules", name)), { recursive: true });
    await symlink(await realpath(held), join(project, "node_modules", name));
  }
});

afterAll(() => rm(project, { recursive: true }));

/** The README's programs, by their names; the first has none. */
async function examples(): Promise<ReadonlyMap<string, string>> {
  const readme = await readFile(join(project, "node_modules/@warren/raft/README.md"), "utf8");
  const blocks = readme.matchAll(/^```ts ?(.*)\n([\s\S]*?)^```/gmu);
  return new Map(Array.from(blocks, ([, name = "", source = ""]) => [name === "" ? "example.ts" : name, source]));
}

test("the packed library runs its README's example in an empty project", async () => {
  const args = ["--input-type=module-typescript", "--eval", (await examples()).get("example.ts")!];
  const { stdout } = await run(process.execPath, args, { cwd: project });
  expect(stdout).toBe('member 3 has "warm"\n');
});

test("its parts are there for a user: the core, the simulator, the manifest, and nothing inside", async () => {
  const script = `
    import { RawNode } from "@warren/raft/core";
    import { startAutopilot } from "@warren/raft/autopilot";
    import { simulate } from "@warren/raft/testing";
    import manifest from "@warren/raft/package.json" with { type: "json" };
    const { violation } = await simulate(1);
    const inside = await import("@warren/raft/src/node/raft-node.ts").catch(({ code }) => code);
    console.log(typeof RawNode, typeof startAutopilot, violation, manifest.name, inside);
  `;
  const { stdout } = await run(process.execPath, ["--input-type=module", "--eval", script], { cwd: project });
  expect(stdout).toBe("function function undefined @warren/raft ERR_PACKAGE_PATH_NOT_EXPORTED\n");
});

test("its program prints what is in a directory", async () => {
  const program = join(project, "node_modules/@warren/raft/dist/dump/main.js");
  const { stdout } = await run(program, ["--help"]);
  expect(stdout).toMatch(/^usage: warren-raft-dump /u);
});

test("its declarations check in a strict project, with all of the README's programs", async () => {
  const programs = await examples();
  expect([...programs.keys()]).toEqual(["example.ts", "member.ts", "client.ts", "backup.ts"]);
  for (const [name, source] of programs) await writeFile(join(project, name), source);
  const options = ["--strict", "--noEmit", "--module", "nodenext", "--target", "esnext", "--types", "node"];
  const checked = await run(process.execPath, [typescript, ...options, ...programs.keys()], { cwd: project }).catch(
    (error: { stdout: string }) => error,
  );
  expect(checked.stdout).toBe("");
});
