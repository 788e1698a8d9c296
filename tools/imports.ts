/**
 * Checks what each package imports of ours against the table in docs/architecture.md, and against its package.json; and
 * that the source files which docs and the heads of `index.ts` name exist.
 *
 * `node tools/imports.ts`: silent and 0 where they agree; else a line for each fault, and 1.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const table = "docs/architecture.md";
const faults: string[] = [];

/** Package → packages that it may import, by the table's first and last column. */
function allowed(): ReadonlyMap<string, ReadonlySet<string>> {
  const rows = readFileSync(join(root, table), "utf8")
    .split("\n")
    .map((line) => /^\| `([a-z-]+)` \|.*\|([^|]*)\|$/.exec(line))
    .filter((row) => row !== null);
  return new Map(
    rows.map(([, name = "", imports = ""]) => [
      name,
      new Set(Array.from(imports.matchAll(/`([a-z/-]+)`/g), ([, each = ""]) => each)),
    ]),
  );
}

interface Manifest {
  readonly name: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}

/** Specifiers of ours that the sources of a folder import, with a file that does. */
function imports(folder: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith(".ts")) continue;
    const path = join(entry.parentPath, entry.name);
    if (path.includes("/generated/")) continue;
    const text = readFileSync(path, "utf8");
    for (const [, specifier = ""] of text.matchAll(/(?:from|import)\s*\(?\s*"(@warren\/[^"]+)"/g))
      found.set(specifier, path.slice(root.length + 1));
  }
  return found;
}

const table_ = allowed();
const folders = readdirSync(join(root, "packages"));
for (const name of folders) {
  const may = table_.get(name);
  if (may === undefined) {
    faults.push(`packages/${name} does not stand in the table of ${table}`);
    continue;
  }
  const manifest = JSON.parse(readFileSync(join(root, "packages", name, "package.json"), "utf8")) as Manifest;
  const named = Object.keys(manifest.dependencies ?? {})
    .filter((each) => each.startsWith("@warren/"))
    .map((each) => each.slice("@warren/".length));
  for (const each of named)
    if (!may.has(each) && ![...may].some((entry) => entry.startsWith(`${each}/`)))
      faults.push(`packages/${name}/package.json names @warren/${each}, which the table of ${table} does not allow`);
  for (const [specifier, path] of imports(join(root, "packages", name, "src"))) {
    const [, to = "", ...sub] = specifier.split("/");
    if (to === name) continue;
    // The table may allow one subpath alone: `orchestrator/plan`.
    const allows = may.has(to) || may.has([to, ...sub].join("/"));
    if (!allows) faults.push(`${path} imports ${specifier}, which the table of ${table} does not allow`);
    // What tests need of others, a package's own `testing/` may take from its development dependencies.
    else if (!named.includes(to) && !path.includes("/testing/"))
      faults.push(`${path} imports ${specifier}, which its package.json does not name`);
  }
}
for (const name of table_.keys())
  if (!folders.includes(name)) faults.push(`${table} has a row for packages/${name}, which is not there`);

/** Paths below `folder` of all files that are not built or installed, relative to the root. */
function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (!entry.isDirectory()) return [path];
    return ["node_modules", "dist", "target", "coverage"].includes(entry.name) ? [] : sources(path);
  });
}

const files = ["packages", "apps", "tools", "proto", "docs"].flatMap(sources);
/** `store.ts`, `state/world.ts`, `native/src/log.rs`, in backticks. */
const fileName = /`((?:[\w-]+\/)*[\w.-]+\.(?:ts|rs))`/g;
const namesFiles =
  /^(?:docs\/[\w-]+\.md|packages\/[\w-]+\/(?:README|DESIGN)\.md|packages\/.*\/src\/(?:.*\/)?index\.ts)$/;
/** Written by a program, with names of its own. */
const generatedPage = "docs/raft-bugs.md";
for (const path of files) {
  if (!namesFiles.test(path) || path.includes("/generated/") || path === generatedPage) continue;
  const text = readFileSync(join(root, path), "utf8");
  const prose = path.endsWith(".ts") ? text.slice(0, text.indexOf("*/")) : text;
  // A page in docs/ names whole paths; a package's, those below the package or of another one.
  const [, folder = ""] = /^(packages\/[\w-]+\/)/.exec(path) ?? [];
  for (const [, name = ""] of prose.matchAll(fileName)) {
    if (name === "index.ts") continue;
    const known = path.endsWith("index.ts")
      ? files.includes(`${path.slice(0, -"index.ts".length)}${name}`)
      : folder === ""
        ? files.includes(name) || files.includes(`packages/${name}`)
        : files.some((each) => each.startsWith(folder) && each.endsWith(`/${name}`)) ||
          files.includes(name) ||
          files.includes(`packages/${name}`);
    if (!known) faults.push(`${path} names ${name}, which is not there`);
  }
}

for (const fault of faults.sort()) console.error(fault);
process.exitCode = faults.length === 0 ? 0 : 1;
