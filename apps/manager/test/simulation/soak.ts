/** `tools/soak cluster`: very many seeds, or one with its story. */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { runSeed } from "./seed.ts";
import { replayCommand, runSeeds } from "./seeds.ts";
import { troubleKinds } from "./troubles.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "10000" },
    from: { type: "string", default: "1" },
    workers: { type: "string", default: String(availableParallelism()) },
    seed: { type: "string" },
    kinds: { type: "string", default: troubleKinds.join() },
  },
});
const numbers = [values.seeds, values.from, values.workers, values.seed ?? "1"].map(Number) as [
  number,
  number,
  number,
  number,
];
if (!numbers.every((n) => Number.isSafeInteger(n) && n > 0)) {
  process.stderr.write("soak cluster: --seeds, --from, --workers and --seed are whole numbers above 0\n");
  process.exit(2);
}
const [count, from, workers, seed] = numbers;
const kinds = troubleKinds.filter((kind) => values.kinds.split(",").includes(kind));
if (values.seed !== undefined) {
  const { story, violation } = await runSeed(seed, { kinds, withStory: true });
  process.stdout.write(`${story.join("\n")}\n${violation ?? "nothing was broken"}\n`);
  process.exit(violation === undefined ? 0 : 1);
}
const begin = performance.now();
let [done, failed, starts, restarts, moves] = [0, 0, 0, 0, 0];
await runSeeds({ from, count, workers, kinds }, (result) => {
  done += 1;
  starts += result.starts;
  restarts += result.restarts;
  moves += result.moves;
  if (result.violation !== undefined) {
    failed += 1;
    process.stdout.write(`seed ${result.seed}: ${result.violation}\n  ${replayCommand(result.seed)}\n`);
  }
  if (done % 100 === 0) {
    const seconds = ((performance.now() - begin) / 1_000).toFixed(0);
    process.stdout.write(
      `${done} of ${count} seeds, ${failed} failed, ${starts} containers, ${restarts} restarts and ${moves} moves judged, ${seconds} s\n`,
    );
  }
});
process.stdout.write(
  `${done - failed} passed, ${failed} failed; ${starts} containers, ${restarts} restarts and ${moves} moves judged\n`,
);
process.exitCode = failed === 0 ? 0 : 1;
