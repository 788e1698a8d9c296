/** `scenarios DIR [--rewrite]`: runs every transcript under DIR, or writes the outputs that the core gives now into them. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";

import { regenerate, runTranscript } from "./run.ts";

const args = process.argv.slice(2);
const rewrite = args.includes("--rewrite");
const [given] = args.filter((arg) => !arg.startsWith("--"));
if (given === undefined || args.includes("--help")) {
  process.stderr.write("usage: scenarios DIR [--rewrite]\n");
  process.exit(2);
}
// A package script starts in the package; a relative DIR is meant from where it was called.
const directory = resolve(process.env["INIT_CWD"] ?? process.cwd(), given);
const files = readdirSync(directory, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".txt"))
  .sort()
  .map((name) => join(directory, name));

let passed = 0;
let failed = 0;
for (const file of files) {
  const text = readFileSync(file, "utf8");
  if (rewrite) {
    writeFileSync(file, regenerate(text));
    passed++;
    continue;
  }
  const difference = runTranscript(text);
  if (difference === undefined) {
    passed++;
    continue;
  }
  failed++;
  const { line, command, expected, actual } = difference;
  process.stdout.write(
    `${relative(directory, file)}:${line}: ${command}\n--- expected\n${expected}\n--- actual\n${actual}\n\n`,
  );
}
process.stdout.write(rewrite ? `${passed} rewritten\n` : `${passed} passed, ${failed} failed\n`);
process.exitCode = failed > 0 || files.length === 0 ? 1 : 0;
