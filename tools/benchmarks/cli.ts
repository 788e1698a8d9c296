/**
 * The whole process of short commands, ms: `warren service list` with 100 services, help, and Node alone. By the clock, and
 * what it used of the processor, which other work on the machine disturbs little.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { Machine } from "../../apps/cli/test/machine.ts";
import { machineLine, percentile, percentileCells, printTable, setting } from "./report.ts";

const run = promisify(execFile);
const rounds = setting("BENCH_ROUNDS", 30);
const program = join(import.meta.dirname, "../../apps/cli/bin/warren.js");

await using machine = await Machine.start();
for (let n = 0; n < 100; n++) {
  const spec = {
    name: `s${n}`,
    mode: { $case: "replicated", value: { replicas: 0 } } as const,
    task: { container: { image: "none" } },
  };
  await machine.client.services.create({ spec });
}
const commands: Readonly<Record<string, readonly string[]>> = {
  "warren service list": [program, "service", "list"],
  "warren service list -o json": [program, "service", "list", "-o", "json"],
  "warren --version": [program, "--version"],
  "warren service create --help": [program, "service", "create", "--help"],
  "node -e 0": ["-e", "0"],
};
/** Runs Node; gives its processor time in ms. Bash counts it for a child, Node does not. */
async function processorMs(args: readonly string[]): Promise<number> {
  const words = ["-c", 'TIMEFORMAT="%U %S"; time "$@" 2>&1 >/dev/null', "bash", process.execPath, ...args];
  const { stderr } = await run("bash", words, { env: machine.env });
  return stderr
    .trim()
    .split(" ")
    .map(Number)
    .reduce((sum, seconds) => sum + seconds * 1_000, 0);
}

const took = new Map<string, number[]>();
const used = new Map<string, number[]>();
for (let round = 0; round <= rounds; round++) {
  for (const [name, args] of Object.entries(commands)) {
    const begin = performance.now();
    await run(process.execPath, args, { env: machine.env, maxBuffer: 2 ** 26 });
    const ms = performance.now() - begin;
    const processor = await processorMs(args);
    if (round === 0) continue;
    took.set(name, [...(took.get(name) ?? []), ms]);
    used.set(name, [...(used.get(name) ?? []), processor]);
  }
}
process.stdout.write(`cli: whole process, ms; ${rounds} runs\n${machineLine()}\n\n`);
printTable(
  ["command", "p50", "p95", "p99", "processor p50"],
  [...took].map(([name, values]) => [
    name,
    ...percentileCells(values, 0),
    percentile(used.get(name) ?? [], 0.5).toFixed(0),
  ]),
);
