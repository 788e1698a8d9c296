/**
 * Puts every bug back and looks who notices: its story, and the simulator in how many seeds. Writes docs/raft-bugs.md, with
 * what `tools/soak raft-mutants` found of generated mutations.
 *
 *     node --conditions=warren-source test/bugs/report.ts [--seeds N] [--workers N] [--only BUG] [--as-measured]
 *
 * `--as-measured` writes the document of what was measured before. What was measured of each bug is kept in `measured.json`.
 */
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";

import { explained } from "../mutants/explained.ts";
import { generate, nameOf } from "../mutants/generate.ts";
import { coreMutations } from "./mutations/core.ts";
import { nodeMutations, simulatorMutations } from "./mutations/node.ts";
import { createMutant, type Mutation } from "./mutant.ts";
import { knownBugs } from "./known-bugs.ts";

export interface MutantResult {
  /** Whether the bug's story failed; undefined if it has none. */
  readonly story: boolean | undefined;
  readonly seeds: number;
  readonly caught: number;
  /** The first seed that noticed, and what it said. */
  readonly first: { readonly seed: number; readonly what: string } | undefined;
}

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "200" },
    workers: { type: "string", default: String(availableParallelism()) },
    only: { type: "string" },
    "as-measured": { type: "boolean", default: false },
  },
});
const seeds = Number(values.seeds);
const measured = join(import.meta.dirname, "measured.json");
/** A mutant may turn in circles without ever giving the processor back; that is noticed too. */
const timeoutMs = 600_000;

async function judge(mutation: Mutation): Promise<MutantResult> {
  using mutant = createMutant(mutation);
  const workerData = { directory: mutant.directory, bug: mutation.bug, seeds };
  const worker = new Worker(new URL("report-worker.ts", import.meta.url), {
    workerData,
    execArgv: ["--conditions=warren-source"],
  });
  return await new Promise((resolve, reject) => {
    let last: MutantResult = { story: undefined, seeds: 0, caught: 0, first: undefined };
    const late = setTimeout(() => {
      const seed = last.seeds + 1;
      const first = last.first ?? { seed, what: "does not end" };
      void worker.terminate().then(() => resolve({ ...last, seeds: seed, caught: last.caught + 1, first }));
    }, timeoutMs);
    worker.on("message", (result: MutantResult) => (last = result));
    worker.on("error", reject);
    worker.on("exit", () => {
      clearTimeout(late);
      resolve(last);
    });
  });
}

const everything = [...coreMutations, ...nodeMutations, ...simulatorMutations];
const results: Record<string, MutantResult> = JSON.parse(readFileSync(measured, "utf8")) as Record<
  string,
  MutantResult
>;
const queue = values["as-measured"]
  ? []
  : everything.filter(({ bug }) => values.only === undefined || bug === values.only);
await Promise.all(
  Array.from({ length: Number(values.workers) }, async () => {
    for (let mutation = queue.shift(); mutation !== undefined; mutation = queue.shift()) {
      const result = await judge(mutation);
      results[mutation.bug] = result;
      const { story, caught, seeds: ran, first } = result;
      const told = story === undefined ? "no story" : story ? "story fails" : "STORY PASSES";
      process.stdout.write(`${mutation.bug}: ${told}, ${caught} of ${ran} seeds${first ? ` (${first.what})` : ""}\n`);
      const known = Object.entries(results).filter(([bug]) => everything.some((one) => one.bug === bug));
      await writeFile(
        measured,
        `${JSON.stringify(Object.fromEntries(known.sort(([a], [b]) => (a < b ? -1 : 1))), undefined, 2)}\n`,
      );
    }
  }),
);

function row(bug: string, seen: string): string {
  const { story, caught, seeds: ran, first } = results[bug] as MutantResult;
  const told = story === undefined ? "–" : story ? "fails" : "**passes**";
  const what = first === undefined ? "–" : `${first.what.replaceAll("|", "\\|").slice(0, 110)} (seed ${first.seed})`;
  return `| \`${bug}\` | ${seen} | ${told} | ${caught} of ${ran} | ${what} |\n`;
}

/** What is known of the mutations that are generated from the source as it is. */
function mutants(): string {
  const verdicts = JSON.parse(readFileSync(join(import.meta.dirname, "../mutants/results.json"), "utf8")) as Record<
    string,
    string
  >;
  const names = generate().map(nameOf);
  const judged = names.filter((name) => verdicts[name] !== undefined);
  const count = (verdict: string): number => judged.filter((name) => verdicts[name] === verdict).length;
  const survivors = judged.filter((name) => verdicts[name] === "survives").sort();
  const lines = survivors.map((name) => {
    const [file, rule, line] = name.split(" | ");
    return `- \`${file}\`, ${rule}: \`${line}\`\n  ${explained[name] ?? "No test detects it, and the reason is not known yet."}\n`;
  });
  return `Of ${names.length} mutations that a generator finds in core, node, storage and transport (\`packages/raft/test/mutants/generate.ts\`), \`tools/soak raft-mutants\` tested ${judged.length}: the unit tests detected ${count("tests")}, simulated worlds that run the line ${count("simulation")} before them, ${count("hangs")} never ended, and ${survivors.length} survive. Results accumulate over runs (\`packages/raft/test/mutants/results.json\`).

${lines.join("")}`;
}

if (values.only === undefined) {
  const others = nodeMutations.filter(({ bug }) => knownBugs[bug] === undefined);
  const stories = [...coreMutations, ...nodeMutations];
  const failing = stories.filter(({ bug }) => results[bug]?.story === true).length;
  const present = everything.map(({ bug }) => results[bug]).filter((one) => one !== undefined);
  const noticed = present.filter(({ caught }) => caught > 0).length;
  const head =
    "| bug | seen in | its test, with the bug | simulator | violation in the first failing seed |\n|---|---|---|---|---|\n";
  const text = `# Known bugs, reproduced

Written by \`node --conditions=warren-source packages/raft/test/bugs/report.ts\`; do not edit. Each bug is a patch of the source, applied to a copy of it (\`packages/raft/test/bugs/mutations\`); the source has no code for them. The *test* of a bug (\`core-stories.ts\`, \`node-stories.ts\`) passes without the patch and must fail with it. The *simulator* column has how many of the first seeds of \`@warren/raft/testing\` fail with the patch; without it none fails.

${stories.length} tests, of which ${failing} fail with their bug; ${present.length} bugs, of which the simulator alone detects ${noticed}.

## Bugs of other implementations
${head}${Object.entries(knownBugs)
    .map(([bug, seen]) => row(bug, seen))
    .join("")}
## Bugs that the simulator found here
${head}${others.map(({ bug }) => row(bug, "this package")).join("")}
## Invented bugs, for the simulator only
${head}${simulatorMutations.map(({ bug }) => row(bug, "–")).join("")}
A bug that few or no seeds show needs a rare order of events, or has only slowness as its effect, which no invariant forbids; its test detects it.

## Generated mutations
${mutants()}`;
  await writeFile(join(import.meta.dirname, "../../../../docs/raft-bugs.md"), text);
}
