/**
 * Puts every bug back and looks who notices: its story, and the simulator in how many seeds. Writes docs/raft-bugs.md.
 *
 *     node --conditions=warren-source test/bugs/report.ts [--seeds N] [--only BUG]
 */
import { writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";

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

const { values } = parseArgs({ options: { seeds: { type: "string", default: "200" }, only: { type: "string" } } });
const seeds = Number(values.seeds);
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

const everything = [...coreMutations, ...nodeMutations, ...simulatorMutations].filter(
  ({ bug }) => values.only === undefined || bug === values.only,
);
const results = new Map<string, MutantResult>();
const queue = [...everything];
await Promise.all(
  Array.from({ length: availableParallelism() }, async () => {
    for (let mutation = queue.shift(); mutation !== undefined; mutation = queue.shift()) {
      const result = await judge(mutation);
      results.set(mutation.bug, result);
      const { story, caught, seeds: ran, first } = result;
      const told = story === undefined ? "no story" : story ? "story fails" : "STORY PASSES";
      process.stdout.write(`${mutation.bug}: ${told}, ${caught} of ${ran} seeds${first ? ` (${first.what})` : ""}\n`);
    }
  }),
);

function row(bug: string, seen: string): string {
  const { story, caught, seeds: ran, first } = results.get(bug) as MutantResult;
  const told = story === undefined ? "–" : story ? "fails" : "**passes**";
  const what = first === undefined ? "–" : `${first.what.replaceAll("|", "\\|").slice(0, 110)} (seed ${first.seed})`;
  return `| \`${bug}\` | ${seen} | ${told} | ${caught} of ${ran} | ${what} |\n`;
}

if (values.only === undefined) {
  const others = nodeMutations.filter(({ bug }) => knownBugs[bug] === undefined);
  const stories = [...coreMutations, ...nodeMutations];
  const failing = stories.filter(({ bug }) => results.get(bug)?.story === true).length;
  const noticed = [...results.values()].filter(({ caught }) => caught > 0).length;
  const head =
    "| bug | seen in | its test, with the bug | simulator | what the first seed said |\n|---|---|---|---|---|\n";
  const text = `# Known bugs, put back

Made by \`node --conditions=warren-source packages/raft/test/bugs/report.ts\`; do not edit. Each bug is a patch of the source, applied to a copy of it (\`packages/raft/test/bugs/mutations\`); nothing in the source knows of them. Its *test* is the story of the bug (\`core-stories.ts\`, \`node-stories.ts\`), which passes without the patch and must fail with it; the *simulator* is the seeded world of \`@warren/raft/testing\`, the first ${seeds} seeds, none of which fails without the patch.

${stories.length} stories, of which ${failing} fail with their bug; ${results.size} bugs, of which the simulator alone notices ${noticed}.

## Bugs that others had
${head}${Object.entries(knownBugs)
    .map(([bug, seen]) => row(bug, seen))
    .join("")}
## Bugs that the simulator found here
${head}${others.map(({ bug }) => row(bug, "this package")).join("")}
## Bugs made up, for the simulator alone
${head}${simulatorMutations.map(({ bug }) => row(bug, "–")).join("")}
A bug that few seeds show, or none, needs a rare order of events, or shows as slowness, which no invariant forbids; its story tells it.
`;
  await writeFile(join(import.meta.dirname, "../../../../docs/raft-bugs.md"), text);
}
