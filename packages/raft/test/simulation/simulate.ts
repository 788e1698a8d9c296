/** Replays seeds: `pnpm --filter @warren/raft simulate --seed 7 --trace`. */
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import { simulate, writeHistory } from "../../src/testing/index.ts";

const usage = `usage: simulate --seed N [--seeds COUNT] [--trace] [--history FILE] [--mixed-programs]

Runs the simulated cluster of a seed, or of COUNT seeds from it on, and says what it did.

  --mixed-programs  members run programs of two levels
  --trace         a line for each thing that happens
  --history FILE  writes what the clients saw, as JSON lines (form: src/testing/simulation/history.ts)
`;

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seeds: { type: "string", default: "1" },
    trace: { type: "boolean", default: false },
    "mixed-programs": { type: "boolean", default: false },
    history: { type: "string" },
    help: { type: "boolean", short: "h", default: false },
  },
});
if (values.help || values.seed === undefined) {
  process.stdout.write(usage);
  process.exit(values.help ? 0 : 2);
}
const first = Number(values.seed);
let failed = 0;
// As the test of mixed groups has it.
const plan = values["mixed-programs"] ? { mixedPrograms: true, chaosMs: 6_000 } : {};
for (let seed = first; seed < first + Number(values.seeds); seed++) {
  const trace = values.trace ? { trace: (line: string) => void process.stdout.write(`${line}\n`) } : {};
  const report = await simulate(seed, { ...trace, plan });
  const { violation, hash, events, simulatedMs, committed, history, linearizable } = report;
  const holds = violation === undefined && linearizable === true;
  const verdict = holds ? "holds" : (violation?.message ?? "nobody knows whether its history is linearizable");
  process.stdout.write(
    `seed ${seed}: ${verdict} (trace ${hash.toString(16).padStart(8, "0")}, ${events} events in ` +
      `${(simulatedMs / 1_000).toFixed(1)} s, ${committed} entries, ${history.length} operations)\n`,
  );
  if (values.history !== undefined) await writeFile(values.history, writeHistory(history));
  if (!holds) failed++;
}
process.exitCode = failed === 0 ? 0 : 1;
