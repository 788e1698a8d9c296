/**
 * `tools/soak raft-mutants`: a sample of generated mutations, each run through the unit tests and worlds that can reach it.
 *
 * What notices most in the least time comes first: a few worlds that run its line, then the tests of the mutation's folder,
 * then more such worlds, then all other tests.
 */
import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { seededRandom } from "@warren/std/testing";

import { applyMutation, generate, nameOf, type GeneratedMutation } from "./generate.ts";
import { reach, type Reach } from "./reach.ts";

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "25" },
    seed: { type: "string", default: "1" },
    seeds: { type: "string", default: "40" },
    again: { type: "boolean", default: false },
    only: { type: "string", default: "" },
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
/** Worlds that are looked at for those that run a line: so many times the number that is run. */
const lookedAt = 3;
/** How many of them run before any test. */
const firstWorlds = 5;
/** A mutant that takes so many times as long as the source does hangs: it is noticed. */
const patience = 4;
const leastPatienceMs = 180_000;

type Verdict = "tests" | "simulation" | "hangs" | "survives";
const known: Record<string, Verdict> = existsSync(results)
  ? (JSON.parse(readFileSync(results, "utf8")) as typeof known)
  : {};

/** Left out: what needs a machine of its own, and what is no test of the package's sources. */
const left = /\/test\/(?:cluster|package|mutants)(?:\/|$)|\.sim\.test\.ts$|tsconfig\.json$|year|readme/u;
/** Tests that wait for real time, which few mutations need. */
const waits = "slow-link";

/** The package with a mutation in. */
function make(mutation: GeneratedMutation): string {
  mkdirSync(workshop, { recursive: true });
  const copy = mkdtempSync(join(workshop, "m-"));
  cpSync(join(raft, "src"), join(copy, "src"), { recursive: true });
  cpSync(join(raft, "test"), join(copy, "test"), { recursive: true, filter: (path) => !left.test(path) });
  // Known bugs that are put back would be put into the mutant.
  writeFileSync(
    join(copy, "vitest.config.ts"),
    `const conditions = ["warren-source", "node", "import", "default"];
const test = { include: ["test/**/*.test.ts"], bail: 1, testTimeout: 60000, pool: "threads", maxWorkers: 1, isolate: false, testNamePattern: /^(?!put back)/ };
export default { resolve: { conditions }, ssr: { resolve: { conditions } }, test };\n`,
  );
  const file = join(copy, "src", mutation.file);
  writeFileSync(file, applyMutation(readFileSync(file, "utf8"), mutation));
  return copy;
}

/** How long the longest stage takes without a mutation. */
let usualMs = 0;

async function run(args: readonly string[], cwd: string): Promise<"passes" | "fails" | "hangs"> {
  const begin = performance.now();
  const outcome = await new Promise<"passes" | "fails" | "hangs">((resolve, reject) => {
    // A group of its own, so that its workers end with it.
    const child = spawn(process.execPath, args, { cwd, stdio: "ignore", detached: true });
    const late = setTimeout(
      () => {
        process.kill(-(child.pid as number), "SIGKILL");
        resolve("hangs");
      },
      Math.max(leastPatienceMs, patience * usualMs),
    );
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(late);
      resolve(code === 0 ? "passes" : "fails");
    });
  });
  if (outcome === "passes") usualMs = Math.max(usualMs, performance.now() - begin);
  return outcome;
}

async function judge(mutation: GeneratedMutation, worlds: readonly number[]): Promise<Verdict> {
  const copy = make(mutation);
  const vitest = [join(raft, "../../node_modules/vitest/vitest.mjs"), "run", "--root", copy];
  const folder = mutation.file.slice(0, mutation.file.indexOf("/"));
  const near = folder === "core" ? ["test/core/", "test/scenarios/", "test/bugs/core"] : [`test/${folder}/`];
  const all = (directories: readonly string[]): string[] => directories.map((directory) => `--exclude=${directory}**`);
  const simulate = (some: readonly number[]): (readonly [Verdict, readonly string[]])[] => {
    const program = join(import.meta.dirname, "worlds.ts");
    return some.length === 0 ? [] : [["simulation", ["--conditions=warren-source", program, copy, some.join(",")]]];
  };
  const stages: (readonly [noticed: Verdict, args: readonly string[]])[] = [
    ...simulate(worlds.slice(0, firstWorlds)),
    ["tests", [...vitest, ...near, `--exclude=**/*${waits}*`]],
    ...simulate(worlds.slice(firstWorlds)),
    ["tests", [...vitest, ...all(near), `--exclude=**/*${waits}*`]],
    ["tests", [...vitest, waits]],
  ];
  try {
    for (const [noticed, args] of stages) {
      const outcome = await run(args, copy);
      if (outcome !== "passes") return outcome === "hangs" ? "hangs" : noticed;
    }
    return "survives";
  } finally {
    rmSync(copy, { recursive: true });
  }
}

function worldsOf({ file, line }: GeneratedMutation, reached: Reach): readonly number[] {
  return (reached.get(`${file}:${line}`) ?? []).slice(0, seeds);
}

const all = generate().filter((mutation) => nameOf(mutation).includes(values.only));
const reached = await reach(lookedAt * seeds);
const random = seededRandom(seed);
const judged = (mutation: GeneratedMutation): Verdict | undefined => known[nameOf(mutation)];
const queue = all.filter((mutation) => judged(mutation) === (values.again ? "survives" : undefined));
// Without any change everything passes, or a verdict would say nothing.
const [anything] = all;
const first = Array.from({ length: seeds }, (_, at) => at + 1);
if (
  anything === undefined ||
  (await judge({ ...anything, after: anything.before, rule: "none" }, first)) !== "survives"
) {
  process.stderr.write("soak raft-mutants: the tests or the worlds fail without any mutation; mend them first\n");
  process.exit(1);
}
for (let done = 0; done < count && queue.length > 0; done++) {
  const [mutation] = queue.splice(random.int(queue.length), 1) as [GeneratedMutation];
  const verdict = await judge(mutation, worldsOf(mutation, reached));
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
