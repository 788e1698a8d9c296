/** What short commands load, from the built command: opening and compiling files is most of the time that they take. */
import { execFile } from "node:child_process";
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);
const dist = join(import.meta.dirname, "../dist");
const program = join(import.meta.dirname, "../bin/warren.js");

/** A file and all that it imports before it runs. */
function closure(path: string, seen: Set<string> = new Set()): ReadonlySet<string> {
  if (seen.has(path)) return seen;
  seen.add(path);
  const text = readFileSync(path, "utf8");
  for (const [, , file = ""] of text.matchAll(/(?:^|[;\n])import(?:\{[^}]*\}from)?(")(\.[^"]+\.js)"/g))
    closure(join(dirname(path), file), seen);
  return seen;
}
const bytes = (files: ReadonlySet<string>): number => [...files].reduce((sum, file) => sum + statSync(file).size, 0);
const chunk = (name: RegExp): string => join(dist, readdirSync(dist).find((file) => name.test(file)) ?? "none");

test("the version costs one small file", () => {
  const files = closure(join(dist, "main.js"));
  expect(bytes(files)).toBeLessThan(32_768);
});

test("a list loads neither what makes JSON, nor other commands, nor a connection before it is made", () => {
  const files = new Set([...closure(chunk(/^service-(?!change)[A-Z0-9]+\.js$/)), ...closure(chunk(/^run-command-/))]);
  const text = [...files].map((file) => readFileSync(file, "utf8")).join("\n");
  for (const other of ["grpc-js", "resetWorker", "convergence.ts", "FileDescriptorProto"])
    expect(text).not.toContain(other);
  expect(bytes(files)).toBeLessThan(1_000_000);
  expect(existsSync(chunk(/^client-.*\.js$/))).toBe(true);
});

test("the version is printed by the whole process", async () => {
  const { stdout } = await run(process.execPath, [program, "--version"]);
  expect(stdout).toMatch(/^warren\/\d+\.\d+\.\d+ linux-\S+ node-v\d+/);
});

test.each([[program], [join(import.meta.dirname, "../../../tools/warren")]])(
  "an --env-file is the service's alone, and not Node's: %s",
  async (command) => {
    const folder = await mkdtemp(join(tmpdir(), "warren-env-"));
    const file = join(folder, "app.env");
    await writeFile(file, `NODE_OPTIONS=--require ${folder}/absent.js\n`);
    const create = (path: string): Promise<string> =>
      run(command, ["service", "create", "web", "--image", "a", "--env-file", path, "--host", `unix:${folder}/none`])
        .catch((error: unknown) => (error as { stderr: string }).stderr)
        .then(String);
    expect(await create(file)).toContain(`no manager answers at ${folder}/none`);
    expect(await create(join(folder, "missing"))).toContain("error: --env-file: ");
    await rm(folder, { recursive: true });
  },
);
