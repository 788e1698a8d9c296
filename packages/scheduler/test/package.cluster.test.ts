/** The published library: packed, installed by npm into an empty project, and tried with its README's example. */
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);
const workspace = fileURLToPath(new URL("../../..", import.meta.url));
const pnpm = join(workspace, "tools/pnpm");

test("an empty project installs the packed library with nothing but std, and its README's example runs", async () => {
  const folder = await mkdtemp(join(tmpdir(), "scheduler-package-"));
  try {
    await run(pnpm, ["exec", "turbo", "run", "build", "--filter=@warren/scheduler"], { cwd: workspace });
    for (const name of ["std", "scheduler"]) {
      await run(pnpm, ["pack", "--pack-destination", folder], { cwd: join(workspace, "packages", name) });
    }
    const tarballs = (await readdir(folder)).filter((name) => name.endsWith(".tgz"));
    expect(tarballs.length).toBe(2);
    await writeFile(join(folder, "package.json"), JSON.stringify({ name: "stranger", private: true, type: "module" }));
    const paths = tarballs.map((name) => join(folder, name));
    // Offline: there is nothing to fetch.
    await run("npm", ["install", "--offline", "--no-audit", "--no-fund", ...paths], { cwd: folder });
    expect((await readdir(join(folder, "node_modules/@warren"))).toSorted()).toEqual(["scheduler", "std"]);
    expect((await readdir(join(folder, "node_modules"))).filter((name) => !name.startsWith("."))).toEqual(["@warren"]);

    const installed = join(folder, "node_modules/@warren/scheduler");
    const readme = await readFile(join(installed, "README.md"), "utf8");
    const example = /^```ts\n([\s\S]*?)^```/m.exec(readme)?.[1] ?? "";
    await writeFile(join(folder, "example.ts"), example);
    const { stdout } = await run(process.execPath, ["example.ts"], { cwd: folder });
    expect(stdout).toBe(/^prints\n\n```\n([\s\S]*?)^```/m.exec(readme)?.[1]);
    expect((await readdir(installed)).toSorted()).toEqual(expect.arrayContaining(["DESIGN.md", "README.md", "dist"]));
    await checkTypes(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

/** Uses the packed declarations; `dom` has the AbortSignal that Node's own types would bring. */
async function checkTypes(folder: string): Promise<void> {
  const options = {
    strict: true,
    module: "nodenext",
    target: "es2024",
    lib: ["esnext", "dom"],
    noEmit: true,
    types: [],
  };
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: options, files: ["typed.ts"] }));
  const typed = `import { defaultFilters, Scheduler, type Filter } from "@warren/scheduler";
const mine: Filter = { name: "mine", check: () => (node) => node.load < 1, explain: () => "no" };
export const scheduler: Scheduler = new Scheduler({ filters: [...defaultFilters, mine] });
// @ts-expect-error An unknown strategy.
new Scheduler({ strategy: "random" });
`;
  await writeFile(join(folder, "typed.ts"), typed);
  await run(pnpm, ["exec", "tsc", "-p", join(folder, "tsconfig.json")], { cwd: workspace });
}
