/** `tools/soak raft-mutants`: a sample of generated mutations, each run through the unit tests and some seeds. */
import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { seededRandom } from "@warren/std/testing";

import { applyMutation, generate, nameOf, type GeneratedMutation } from "./generate.ts";

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "25" },
    seed: { type: "string", default: "1" },
    seeds: { type: "string", default: "40" },
  },
});
const [count, seed, seeds] = [values.count, values.seed, values.seeds].map(Number) as [number, number, number];
if (![count, seed, seeds].every((n) => Number.isSafeInteger(n) && n > 0)) {
  process.stderr.write("soak raft-mutants: --count, --seed and --seeds are whole numbers above 0\n");
  process.exit(2);
}

const raft = join(import.meta.dirname, "../..");
const results = join(import.meta.dirname, "results.json");
const workshop = join(raft, ".mutants");
/** A mutant that takes so long is one that hangs: it is noticed. */
const patienceMs = 600_000;

type Verdict = "tests" | "simulation" | "hangs" | "survives";
const known: Record<string, Verdict> = existsSync(results)
  ? (JSON.parse(readFileSync(results, "utf8")) as typeof known)
  : {};

/** The package with a mutation in: its sources and the tests that take seconds. */
function make(mutation: GeneratedMutation): string {
  mkdirSync(workshop, { recursive: true });
  const copy = mkdtempSync(join(workshop, "m-"));
  cpSync(join(raft, "src"), join(copy, "src"), { recursive: true });
  const slow =
    /\/test\/(?:bugs|cluster|package|mutants)(?:\/|$)|\.sim\.test\.ts$|tsconfig\.json$|year|slow-link|readme/u;
  cpSync(join(raft, "test"), join(copy, "test"), { recursive: true, filter: (path) => !slow.test(path) });
  writeFileSync(
    join(copy, "vitest.config.ts"),
    `const conditions = ["warren-source", "node", "import", "default"];
export default { resolve: { conditions }, ssr: { resolve: { conditions } }, test: { include: ["test/**/*.test.ts"], bail: 1, testTimeout: 60000 } };\n`,
  );
  const file = join(copy, "src", mutation.file);
  writeFileSync(file, applyMutation(readFileSync(file, "utf8"), mutation));
  return copy;
}

function run(program: string, args: readonly string[], cwd: string): Promise<"passes" | "fails" | "hangs"> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, stdio: "ignore" });
    const late = setTimeout(() => {
      child.kill("SIGKILL");
      resolve("hangs");
    }, patienceMs);
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(late);
      resolve(code === 0 ? "passes" : "fails");
    });
  });
}

async function judge(mutation: GeneratedMutation): Promise<Verdict> {
  const copy = make(mutation);
  try {
    const vitest = join(raft, "../../node_modules/vitest/vitest.mjs");
    const tests = await run(process.execPath, [vitest, "run", "--root", copy], copy);
    if (tests !== "passes") return tests === "hangs" ? "hangs" : "tests";
    const simulate = [
      "--conditions=warren-source",
      join(copy, "test/simulation/simulate.ts"),
      "--seed",
      "1",
      "--seeds",
      String(seeds),
    ];
    const worlds = await run(process.execPath, simulate, copy);
    return worlds === "passes" ? "survives" : worlds === "hangs" ? "hangs" : "simulation";
  } finally {
    rmSync(copy, { recursive: true });
  }
}

// Without any change everything passes, or a verdict would say nothing.
const [anything] = generate();
if (anything === undefined || (await judge({ ...anything, after: anything.before })) !== "survives") {
  process.stderr.write("soak raft-mutants: the tests or the worlds fail without any mutation; mend them first\n");
  process.exit(1);
}
const random = seededRandom(seed);
const all = generate();
const left = all.filter((mutation) => known[nameOf(mutation)] === undefined);
for (let done = 0; done < count && left.length > 0; done++) {
  const [mutation] = left.splice(random.int(left.length), 1) as [GeneratedMutation];
  const verdict = await judge(mutation);
  known[nameOf(mutation)] = verdict;
  writeFileSync(results, `${JSON.stringify(known, undefined, 2)}\n`);
  process.stdout.write(
    `${verdict.padEnd(10)} ${mutation.file}:${mutation.line} ${mutation.rule}: ${mutation.before.trim()}\n`,
  );
}
const names = new Set(all.map(nameOf));
const present = Object.entries(known).filter(([name]) => names.has(name));
const survivors = present.filter(([, verdict]) => verdict === "survives");
process.stdout.write(`${present.length} of ${all.length} mutations judged so far, ${survivors.length} survive:\n`);
for (const [name] of survivors) process.stdout.write(`  ${name}\n`);
