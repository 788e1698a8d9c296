/**
 * `tools/bench compare COMMIT NAME [ARGUMENT…]`: a benchmark at an older commit and here, in turns. Prints its tables with
 * the median of here ÷ there, over the pairs, in place of each figure, and the least and greatest in brackets.
 *
 * The commit is checked out and set up once, in .toolchain/compare/. Its own benchmark NAME is run there; this tree's, if
 * the commit had none, or with BENCH_PROGRAM=here, for a benchmark that has other cases now and a commit whose packages it
 * can still call. Rows are matched by their place, since names change, and a table that has lost or gained rows or columns
 * is not compared. A run that fails, as one with time-outs may on a busy machine, is repeated twice at most.
 *
 * BENCH_PAIRS (default 10). BENCH_CLOCK=processor gives the benchmark the processor time of its process in place of the
 * clock: for those that compute in one process (store, dispatcher), where the machine has other work. BENCH_UNDER is a
 * command that each run is started by, its words apart by spaces: `flock FILE`, `unshare --net`.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { machineLine, percentile, printTable, setting } from "./report.ts";

type Row = readonly string[];
type Table = readonly Row[];
interface Run {
  readonly tables: readonly Table[];
  /** User and system, of the process and those that it waited for. */
  readonly processorSeconds: number;
}

const root = join(import.meta.dirname, "../..");

/** The commit's tree, set up. */
function checkOut(commit: string): string {
  const git = (...args: readonly string[]): string => execFileSync("git", ["-C", root, ...args], { encoding: "utf8" });
  let id: string;
  try {
    id = git("rev-parse", "--verify", "--quiet", `${commit}^{commit}`).trim();
  } catch {
    throw new Error(`"${commit}" is no commit of this repository; if the clone is shallow: git fetch --unshallow`);
  }
  const tree = join(root, ".toolchain/compare", id);
  if (!existsSync(join(tree, "tools"))) {
    rmSync(tree, { recursive: true, force: true });
    mkdirSync(tree, { recursive: true });
    git("clone", "--quiet", "--shared", "--no-checkout", root, tree);
    execFileSync("git", ["-C", tree, "checkout", "--quiet", "--detach", id]);
  }
  const parts = ["toolchain", "modules", "native", "build"];
  execFileSync(join(tree, "tools/setup"), parts, { stdio: ["ignore", 2, 2] });
  return tree;
}

/** The benchmark's program in `tree`. */
function programOf(tree: string, name: string): string {
  const own = process.env["BENCH_PROGRAM"];
  if (own !== undefined && own !== "here") throw new Error(`BENCH_PROGRAM: want "here", not "${own}"`);
  const there = join(tree, "tools/benchmarks", `${name}.ts`);
  return existsSync(there) && own === undefined ? there : join(bringBenchmarks(tree), `${name}.ts`);
}

/** Copies this tree's benchmarks to a folder beside those of `tree`, and the tests' helpers that these need and it lacks. */
function bringBenchmarks(tree: string): string {
  const from = join(root, "tools/benchmarks");
  const to = join(tree, "tools/benchmarks-of-here");
  rmSync(to, { recursive: true, force: true });
  cpSync(from, to, { recursive: true });
  for (const file of readdirSync(from).filter((name) => name.endsWith(".ts"))) {
    for (const [, path = ""] of readFileSync(join(from, file), "utf8").matchAll(
      /from "\.\.\/\.\.\/(apps\/.+\/test\/.+)"/g,
    )) {
      if (!existsSync(join(tree, path))) copyFileSync(join(root, path), join(tree, path));
    }
  }
  return to;
}

/** Its tables: lines between bars, without the line under the head. Of one case as JSON: the median of each list in it. */
function tablesOf(output: string): readonly Table[] {
  if (output.startsWith("{")) {
    const values = Object.entries(JSON.parse(output) as Record<string, number | readonly number[]>);
    const medians = values.map(([name, value]) => [name, String(percentile([value].flat(), 0.5))]);
    return [[["", "p50"], ...medians]];
  }
  const tables: Row[][] = [];
  let within = false;
  for (const line of output.split("\n")) {
    const cells = line.startsWith("| ") ? line.slice(2, -2).split(" | ") : undefined;
    if (cells !== undefined && !within) tables.push([]);
    if (cells !== undefined && !cells.every((cell) => cell === "---")) tables.at(-1)?.push(cells);
    within = cells !== undefined;
  }
  return tables;
}

/** Bash counts what its children and theirs took; Node does not. */
const timed = 'TIMEFORMAT="%U %S"; { time "$@" 2>&3; } 3>&2 2>"$0"';

/** Runs of one side that may fail, one after the other. */
const maxAttempts = 3;

async function run(tree: string, program: string, args: readonly string[], times: string): Promise<Run> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await runOnce(tree, program, args, times);
    } catch (error) {
      if (attempt === maxAttempts) throw error;
      process.stderr.write(`${String(error)}; it is repeated\n`);
    }
  }
}

async function runOnce(tree: string, program: string, args: readonly string[], times: string): Promise<Run> {
  const clock = process.env["BENCH_CLOCK"];
  if (clock !== undefined && clock !== "processor") throw new Error(`BENCH_CLOCK: want "processor", not "${clock}"`);
  const preload = clock === undefined ? [] : ["--import", join(import.meta.dirname, "processor-clock.ts")];
  const node = join(tree, ".toolchain/node_modules/.bin/node");
  const under = process.env["BENCH_UNDER"]?.split(" ") ?? [];
  const command = [...under, node, ...preload, "--conditions=warren-source", program, ...args];
  const child = spawn("bash", ["-c", timed, times, ...command], { cwd: tree, stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`${program} ended with ${code}`);
  const [user = Number.NaN, system = Number.NaN] = readFileSync(times, "utf8").trim().split(" ").map(Number);
  return { tables: tablesOf(output), processorSeconds: user + system };
}

const shapeOf = (tables: readonly Table[] | undefined): string =>
  JSON.stringify(tables?.map((table) => [table.length, table[0]?.length]));

function ratioCell(ratios: readonly number[]): string {
  const [least, median, most] = [0, 0.5, 1].map((share) => percentile(ratios, share).toFixed(2));
  return `${median} (${least}–${most})`;
}

/** A number, thousands apart by commas; undefined for a text. */
function numberIn(cell: string): number | undefined {
  const digits = cell.replaceAll(",", "");
  return /^-?\d+(\.\d+)?$/.test(digits) ? Number(digits) : undefined;
}

/** A cell of the comparison: a ratio of figures, else the text, and the older text if it is another. */
function compared(here: readonly string[], there: readonly string[], isFigure: boolean): string {
  const ratios = here.map((cell, at) => (numberIn(cell) ?? Number.NaN) / (numberIn(there[at] ?? "") ?? Number.NaN));
  if (isFigure && ratios.every(Number.isFinite)) return ratioCell(ratios);
  const [now, then] = [here[0] ?? "", there[0] ?? ""];
  return now === then || isFigure ? now : `${now} (was: ${then})`;
}

function printComparison(here: readonly Run[], there: readonly Run[]): void {
  const [sample] = here;
  for (const [t, table] of (sample?.tables ?? []).entries()) {
    const rows = table.map((row, r) =>
      row.map((_, c) => {
        const cells = (runs: readonly Run[]): string[] => runs.map(({ tables }) => tables[t]?.[r]?.[c] ?? "");
        // What a table has in equal cells on both sides says what was measured, even if it is a number.
        const [now, then] = [cells(here), cells(there)];
        const same = new Set([...now, ...then]).size === 1;
        return compared(now, then, !same && numberIn(now[0] ?? "") !== undefined);
      }),
    );
    process.stdout.write("\n");
    printTable(rows[0] ?? [], rows.slice(1));
  }
  const seconds = (runs: readonly Run[]): string[] => runs.map(({ processorSeconds }) => String(processorSeconds));
  process.stdout.write(`\nprocessor time of the whole run: ${compared(seconds(here), seconds(there), true)}\n`);
}

const [commit, name, ...args] = process.argv.slice(2);
if (commit === undefined || name === undefined) {
  process.stderr.write("usage: tools/bench compare COMMIT NAME [ARGUMENT…]\n");
  process.exit(2);
}
if (!existsSync(join(root, "tools/benchmarks", `${name}.ts`))) {
  throw new Error(`no benchmark "${name}"; tools/bench --help names them`);
}
const tree = checkOut(commit);
const programs = { here: join(root, "tools/benchmarks", `${name}.ts`), there: programOf(tree, name) };
const pairs = setting("BENCH_PAIRS", 10);
const folder = mkdtempSync(join(tmpdir(), "bench-compare-"));
const runs: { readonly here: Run[]; readonly there: Run[] } = { here: [], there: [] };
try {
  for (let pair = 1; pair <= pairs; pair += 1) {
    const times = join(folder, "times");
    const there = (): Promise<Run> => run(tree, programs.there, args, times);
    const here = (): Promise<Run> => run(root, programs.here, args, times);
    // Either side goes first as often, so that what the machine does more and more of favours none.
    if (pair % 2 === 0) {
      runs.here.push(await here());
      runs.there.push(await there());
    } else {
      runs.there.push(await there());
      runs.here.push(await here());
    }
    const shapes = [...runs.here, ...runs.there].map(({ tables }) => shapeOf(tables));
    if (new Set(shapes).size > 1) throw new Error(`the tables of "${name}" at ${commit} are not those of here`);
    process.stderr.write(`pair ${pair} of ${pairs}\n`);
  }
} finally {
  rmSync(folder, { recursive: true });
}
process.stdout.write(`${name}: here ÷ ${commit}, median of ${pairs} pairs (least–greatest)\n${machineLine()}\n`);
printComparison(runs.here, runs.there);
