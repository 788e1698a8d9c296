/** `tools/soak raft`: very many seeds. */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";

import { replayCommand, runSeeds } from "./seeds.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "100000" },
    from: { type: "string", default: "1" },
    workers: { type: "string", default: String(availableParallelism()) },
  },
});
const [count, from, workers] = [values.seeds, values.from, values.workers].map(Number) as [number, number, number];
if (![count, from, workers].every((n) => Number.isSafeInteger(n) && n > 0)) {
  process.stderr.write("soak raft: --seeds, --from and --workers are whole numbers above 0\n");
  process.exit(2);
}
const begin = performance.now();
let done = 0;
let failed = 0;
let events = 0;
await runSeeds({ from, count, workers }, (result) => {
  done++;
  events += result.events;
  // A history that the checker gives up on is not a good one.
  const what = result.violation ?? (result.judged ? undefined : "nobody knows whether its history is linearizable");
  if (what !== undefined) {
    failed++;
    process.stdout.write(`seed ${result.seed}: ${what}\n  ${replayCommand(result.seed)}\n`);
  }
  if (done % 1_000 === 0) {
    const seconds = ((performance.now() - begin) / 1_000).toFixed(0);
    process.stdout.write(`${done} of ${count} seeds, ${failed} failed, ${events} events, ${seconds} s\n`);
  }
});
process.stdout.write(`${done - failed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
