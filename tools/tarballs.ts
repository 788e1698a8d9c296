/**
 * Packs each published package as it would be published and looks at what is in the tarball: what its manifest, links
 * and source maps name is there, nothing leads outside, and no file of a build or a workspace's name came along.
 *
 * `node tools/tarballs.ts`, after a build: silent and 0 where all is so; else a line for each fault, and 1.
 */
import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = join(import.meta.dirname, "..");

/** What a build needs or leaves, and no user does. */
const ofTheBuild =
  /(?:^|\/)(?:\.tsbuildinfo|.*\.tsbuildinfo|tsconfig.*\.json|tsup\.config\.ts|\.turbo|node_modules)(?:\/|$)/u;

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** Every text in a value. */
function texts(value: Json | undefined): string[] {
  if (typeof value === "string") return [value];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(texts) : [];
}

function manifestFaults(folder: string): string[] {
  const text = readFileSync(join(folder, "package.json"), "utf8");
  const manifest = JSON.parse(text) as Record<string, Json>;
  const named = ["exports", "bin", "main", "types"].flatMap((field) => texts(manifest[field]));
  const missing = named.filter((path) => !existsSync(join(folder, path))).map((path) => `package.json names ${path}`);
  return /workspace:|catalog:/u.test(text) ? [...missing, "package.json names the workspace"] : missing;
}

/** What a file names by a path, relative to it. */
function namedBy(file: string, text: string): string[] {
  if (file.endsWith(".md")) {
    const links = text.matchAll(/\]\((?![a-z]+:)([^)#\s]+)/gu);
    return Array.from(links, ([, to = ""]) => to);
  }
  if (file.endsWith(".map")) return [...(JSON.parse(text) as { readonly sources: readonly string[] }).sources];
  return Array.from(text.matchAll(/^\/\/# sourceMappingURL=(?!data:)(.+)$/gmu), ([, to = ""]) => to);
}

function fileFaults(folder: string): string[] {
  const faults: string[] = [];
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const file = relative(folder, path);
    if (ofTheBuild.test(file)) faults.push(`${file} is the build's own`);
    if (!/\.(?:md|map|js|ts)$/u.test(file)) continue;
    for (const to of namedBy(file, readFileSync(path, "utf8"))) {
      const target = join(dirname(path), to);
      if (!target.startsWith(`${folder}/`)) faults.push(`${file} names ${to}, which is outside`);
      else if (!existsSync(target)) faults.push(`${file} names ${to}, which is not there`);
    }
  }
  return faults;
}

async function faultsOf(name: string): Promise<string[]> {
  const made = await mkdtemp(join(tmpdir(), "tarball-"));
  try {
    await run("pnpm", ["pack", "--pack-destination", made], { cwd: join(root, "packages", name) });
    const [tarball = ""] = readdirSync(made);
    await run("tar", ["-xzf", join(made, tarball), "-C", made]);
    const folder = join(made, "package");
    return [...manifestFaults(folder), ...fileFaults(folder)].map((fault) => `packages/${name}: ${fault}`);
  } finally {
    await rm(made, { recursive: true });
  }
}

const faults: string[] = [];
for (const name of readdirSync(join(root, "packages"))) {
  const manifest = JSON.parse(readFileSync(join(root, "packages", name, "package.json"), "utf8")) as { private?: true };
  if (manifest.private !== true) faults.push(...(await faultsOf(name)));
}
for (const fault of faults) console.error(fault);
process.exitCode = faults.length === 0 ? 0 : 1;
