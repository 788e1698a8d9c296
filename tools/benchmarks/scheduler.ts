/**
 * Placements a second of `@warren/scheduler`, one decision at a time, memory, and how both grow.
 *
 * Every case runs in a process of its own. A placement's time is that of `apply` for the task and its share of
 * `schedule`, on the processor: the library never waits for anything, so what else the machine does counts for little.
 * What the clock said stands beside it. One decision is a task applied and scheduled by itself, by the clock; then it
 * is taken off again.
 *
 * `tools/bench scheduler [rates|curve|waiting|decisions|writes|swarmkit]…` runs some parts only; BENCH_ROUNDS (default 3)
 * rounds a case. `swarmkit` is the case "writes" beside swarmkit's scheduler, which Go builds (Debian's golang-go, if no other
 * is there).
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { type NodeState, Scheduler, type TaskState } from "../../packages/scheduler/src/index.ts";
import { machineLine, percentile, percentileCells, printTable, setting } from "./report.ts";

const kinds = [
  "plain",
  "constraint",
  "anti-affinity",
  "preference",
  "none fit, amounts differ",
  "1 node in 100 passes",
  "own node each",
  "beside a service on 9 nodes of 10",
] as const;

interface Case {
  readonly nodes: number;
  readonly tasks: number;
  readonly services: number;
  readonly kind: (typeof kinds)[number];
  /** Also measure the change of a node while this many services wait. */
  readonly waiting?: number;
  /** Each of those with a constraint of its own. */
  readonly apart?: boolean;
  /** The loop with its store, in place of the scheduler alone. */
  readonly writes?: boolean;
}

interface Result {
  readonly placed: number;
  /** Of each round, ms for all tasks. */
  readonly rounds: readonly number[];
  /** The same by the clock. */
  readonly clock: readonly number[];
  /** Of each decision, ms. */
  readonly decisions: readonly number[];
  readonly megabytes: number;
}

function nodeOf(n: number, { kind }: Case): NodeState {
  return {
    id: `n${n}`,
    hostname: `h${n}`,
    role: "worker",
    ready: true,
    active: true,
    labels: { zone: `z${n % 4}`, ...(kind === "1 node in 100 passes" && n % 100 === 0 ? { special: "1" } : {}) },
    resources: { cpu: 1e12, memory: 2 ** 40 },
  };
}

function taskOf(n: number, { kind, services, nodes }: Case): TaskState {
  const serviceId = `s${n % services}`;
  const task = { id: `t${n}`, serviceId, specVersion: 1, reservations: { cpu: 1e7, memory: 2 ** 20 } };
  const beside = (service: string): Partial<TaskState> => ({
    affinity: [{ kind: "anti-affinity", service, topology: "node.hostname" }],
  });
  switch (kind) {
    case "plain":
      return task;
    case "constraint":
      return { ...task, constraints: ["node.labels.zone == z1"] };
    case "anti-affinity":
      return { ...task, ...beside(`s${(n + 1) % services}`) };
    case "preference":
      return { ...task, preferences: ["spread=node.labels.zone"] };
    case "none fit, amounts differ":
      // Tasks of one version may not ask for different amounts.
      return { ...task, specVersion: n + 1, reservations: { memory: 2 ** 41 + n } };
    case "1 node in 100 passes":
      return { ...task, constraints: ["node.labels.special exists"] };
    case "own node each":
      return { ...task, constraints: [`node.id == n${n % nodes}`] };
    case "beside a service on 9 nodes of 10":
      return { ...task, ...beside("crowd") };
  }
}

function load(each: Case): Scheduler {
  const scheduler = new Scheduler({ seed: 1 });
  for (let n = 0; n < each.nodes; n += 1) scheduler.apply({ kind: "node", node: nodeOf(n, each) });
  if (each.kind === "beside a service on 9 nodes of 10") {
    for (let n = 0; n < each.nodes * 0.9; n += 1) {
      scheduler.apply({ kind: "task", task: { id: `c${n}`, serviceId: "crowd", specVersion: 1, nodeId: `n${n}` } });
    }
  }
  return scheduler;
}

/** The thread's time on the processor, ms. */
function processorMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

/** In the case's own process. */
function measure(each: Case): Result {
  const rounds: number[] = [];
  const clock: number[] = [];
  let placed = 0;
  let scheduler = load(each);
  for (let round = 0; round < setting("BENCH_ROUNDS", 3); round += 1) {
    if (round > 0) scheduler = load(each);
    const tasks = Array.from({ length: each.tasks }, (_, n) => taskOf(n, each));
    const [begin, start] = [processorMs(), performance.now()];
    for (const task of tasks) scheduler.apply({ kind: "task", task });
    placed = scheduler.schedule().filter((decision) => decision.kind === "placed").length;
    rounds.push(processorMs() - begin);
    clock.push(performance.now() - start);
  }
  const decisions: number[] = [];
  const time = (work: () => void): void => {
    const begin = performance.now();
    work();
    decisions.push(performance.now() - begin);
  };
  if (each.waiting !== undefined) {
    for (let n = 0; n < each.waiting; n += 1) {
      const constraints = [each.apart === true ? `node.labels.none == x${n}` : "node.labels.none exists"];
      const task = { id: `w${n}`, serviceId: `w${n}`, specVersion: 1, reservations: { memory: n + 1 }, constraints };
      scheduler.apply({ kind: "task", task });
    }
    scheduler.schedule();
    for (let n = 0; n < 500; n += 1) {
      time(() => {
        scheduler.apply({ kind: "node", node: nodeOf(n % each.nodes, each) });
        scheduler.schedule();
      });
    }
  } else {
    for (let n = each.tasks; n < each.tasks + 2_000; n += 1) {
      const task = taskOf(n, each);
      time(() => {
        scheduler.apply({ kind: "task", task });
        scheduler.schedule();
      });
      scheduler.apply({ kind: "task-gone", taskId: task.id });
    }
  }
  return { placed, rounds, clock, decisions, megabytes: process.resourceUsage().maxRSS / 1024 };
}

/** In the case's own process. */
async function measureLoop({ nodes, tasks }: Case): Promise<Result> {
  // Here, so that the other cases' processes don't load a store.
  const { measureWrites } = await import("./scheduler-writes.ts");
  const rounds: number[] = [];
  const clock: number[] = [];
  for (let round = 0; round < setting("BENCH_ROUNDS", 3); round += 1) {
    const { processorMs, clockMs } = await measureWrites(nodes, tasks);
    rounds.push(processorMs);
    clock.push(clockMs);
  }
  return { placed: tasks, rounds, clock, decisions: [], megabytes: process.resourceUsage().maxRSS / 1024 };
}

function run(each: Case, rounds = setting("BENCH_ROUNDS", 3)): Result {
  const args = ["--conditions=warren-source", import.meta.filename, JSON.stringify(each)];
  const env = { ...process.env, BENCH_ROUNDS: String(rounds) };
  const output = execFileSync(process.execPath, args, { encoding: "utf8", maxBuffer: 2 ** 26, env });
  return JSON.parse(output) as Result;
}

const thousands = (value: number): string => Math.round(value).toLocaleString("en");

function printRates(): void {
  const sizes = [
    [1_000, 10_000, 10_000],
    [1_000, 10_000, 1_000],
    [1_000, 10_000, 10],
    [10_000, 100_000, 100_000],
    [10_000, 100_000, 10],
    [100_000, 100_000, 100_000],
  ] as const;
  const rows = sizes.flatMap(([nodes, tasks, services]) =>
    kinds.slice(0, 4).map((kind) => {
      const { rounds, clock, decisions, megabytes } = run({ nodes, tasks, services, kind });
      const rate = (times: readonly number[]): string => thousands(tasks / (percentile(times, 0.5) / 1_000));
      return [
        ...[nodes, tasks, services].map(thousands),
        kind,
        rate(rounds),
        rate(clock),
        ...percentileCells(decisions, 3),
        thousands(megabytes),
      ];
    }),
  );
  const head = ["nodes", "tasks", "services", "rules", "placements/s", "by the clock", "p50", "p95", "p99", "MiB"];
  process.stdout.write(
    "\nPlacements a second (median of the rounds), one decision (ms), peak memory of the process:\n\n",
  );
  printTable(head, rows);
}

/** Time a task, and by how much more it grew from the size before than n log n would. */
function printCurve(): void {
  const sizes = [1_000, 3_000, 10_000, 30_000, 100_000];
  process.stdout.write(
    "\nThe curve, as many tasks of as many services as nodes: µs a task; in brackets the growth over that of n log n:\n\n",
  );
  const rows = kinds.map((kind) => {
    let before: { readonly n: number; readonly ms: number } | undefined;
    const cells = sizes.map((n) => {
      const ms = percentile(run({ nodes: n, tasks: n, services: n, kind }).rounds, 0.5);
      const expected = before === undefined ? 1 : (n * Math.log2(n)) / (before.n * Math.log2(before.n));
      const growth = before === undefined ? "" : ` (${(ms / before.ms / expected).toFixed(2)})`;
      before = { n, ms };
      return `${((1_000 * ms) / n).toFixed(1)}${growth}`;
    });
    return [kind, ...cells];
  });
  printTable(["rules", ...sizes.map(thousands)], rows);
}

function printWaiting(): void {
  process.stdout.write("\nA node told anew while services wait that it does not help (ms):\n\n");
  const rows = [false, true].flatMap((apart) =>
    [1_000, 10_000, 100_000].map((waiting) => {
      const { decisions } = run({ nodes: 10_000, tasks: 10_000, services: 10_000, kind: "plain", waiting, apart });
      return ["10,000", thousands(waiting), apart ? "one each" : "one for all", ...percentileCells(decisions, 3)];
    }),
  );
  printTable(["nodes", "services that wait", "constraint", "p50", "p95", "p99"], rows);
}

/** What a peer's scheduler is compared with: the work of both is named where the figures are. */
function printDecisions(): void {
  const tasks = 10_000;
  const { placed, rounds, clock } = run({ nodes: 1_000, tasks, services: tasks, kind: "plain" });
  if (placed !== tasks) throw new Error(`${placed} of ${tasks} tasks were placed: the case needs room for all`);
  process.stdout.write(
    "\nDecisions alone: 10,000 one-task services on 1,000 nodes that are known before; from the first task applied to the\n" +
      "last decision returned, with its reason. No store, no loop, no writes. Target: 10 × a peer that does the same.\n\n",
  );
  printRounds(tasks, rounds, clock);
}

function printRounds(tasks: number, rounds: readonly number[], clock: readonly number[]): void {
  const cells = (times: readonly number[]): string[] => [
    ...percentileCells(times, 0),
    thousands(tasks / (percentile(times, 0.5) / 1_000)),
  ];
  printTable(
    ["ms for all", "p50", "p95", "p99", "placements/s"],
    [
      ["on the processor", ...cells(rounds)],
      ["by the clock", ...cells(clock)],
    ],
  );
}

/** The work of swarmkit's own scheduler benchmark, whose loop reads pending tasks from its store and writes them back. */
function printWrites(): void {
  const tasks = 10_000;
  const { rounds, clock } = run({ nodes: 1_000, tasks, services: tasks, kind: "plain", writes: true });
  process.stdout.write(
    "\nThe loop with its store writes: 10,000 one-task services on 1,000 nodes, all in the store before; from the start of\n" +
      "the scheduling loop to the last task that is ASSIGNED in the store, seen by a watch. The store is in memory, and each\n" +
      "transaction is encoded, decoded and applied as a manager does; no disk, no other members. It writes the slot with its\n" +
      "lease and address, and the task with the reason. Target: 5 × a peer that does the same.\n\n",
  );
  printRounds(tasks, rounds, clock);
}

/** Of each round, ms. */
interface Times {
  readonly processor: number[];
  readonly clock: number[];
}

const times = (): Times => ({ processor: [], clock: [] });

/** Builds the program in `swarmkit/` into `folder`, and returns its path. */
function buildSwarmkit(folder: string): string {
  const source = join(import.meta.dirname, "swarmkit");
  const program = join(folder, "swarmkit");
  const build = (): unknown =>
    execFileSync("go", ["build", "-o", program, "."], { cwd: source, stdio: ["ignore", 2, 2] });
  try {
    build();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    execFileSync("apt-get", ["update", "-qq"], { stdio: ["ignore", 2, 2] });
    execFileSync("apt-get", ["install", "-y", "-qq", "--no-install-recommends", "golang-go"], {
      stdio: ["ignore", 2, 2],
    });
    build();
  }
  return program;
}

/**
 * In turns, each in a process of its own, the same work: see `scheduler-writes.ts` and `swarmkit/main.go`. A process of ours
 * does it once before it is measured, since code is compiled while it runs; swarmkit's is compiled before.
 */
function printSwarmkit(): void {
  const [nodes, tasks] = [1_000, 10_000];
  const folder = mkdtempSync(join(tmpdir(), "bench-swarmkit-"));
  const took = { warren: times(), same: times(), own: times() };
  try {
    const program = buildSwarmkit(folder);
    const peer = (which: "same" | "own"): { readonly processorMs: number; readonly clockMs: number } =>
      JSON.parse(execFileSync(program, [which, String(nodes), String(tasks)], { encoding: "utf8" })) as {
        readonly processorMs: number;
        readonly clockMs: number;
      };
    for (let round = 0; round < setting("BENCH_ROUNDS", 3); round += 1) {
      const { rounds, clock } = run({ nodes, tasks, services: tasks, kind: "plain", writes: true }, 2);
      took.warren.processor.push(rounds.at(-1) ?? Number.NaN);
      took.warren.clock.push(clock.at(-1) ?? Number.NaN);
      for (const which of ["same", "own"] as const) {
        const { processorMs, clockMs } = peer(which);
        took[which].processor.push(processorMs);
        took[which].clock.push(clockMs);
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  process.stdout.write(
    `\nThe loop with its store writes, beside swarmkit's, in turns; load ${loadavg()[0]?.toFixed(1)}. Both: 10,000 one-task services that\n` +
      "reserve processor and memory, on 1,000 nodes, all in the store before; to the last task that a watch has seen ASSIGNED.\n" +
      "Warren's store encodes, decodes and applies each transaction, and writes the slot with its lease and address beside\n" +
      "the task; swarmkit's writes the task. Its own benchmark has neither services nor reservations, and creates all in one\n" +
      "transaction while its loop runs. The ratio is its processor time ÷ Warren's, round by round. Target: 5.\n\n",
  );
  const names = { warren: "warren", same: "swarmkit", own: "swarmkit, its own benchmark" } as const;
  printTable(
    ["ms for all", "processor p50", "by the clock p50", "÷ Warren's, p50", "least", "most"],
    (["warren", "same", "own"] as const).map((side) => {
      const { processor, clock } = took[side];
      const ratios = processor.map((ms, round) => ms / (took.warren.processor[round] ?? Number.NaN));
      return [
        names[side],
        ...[processor, clock].map((values) => percentile(values, 0.5).toFixed(0)),
        ...[0.5, 0, 1].map((share) => percentile(ratios, share).toFixed(2)),
      ];
    }),
  );
}

const parts = {
  rates: printRates,
  curve: printCurve,
  waiting: printWaiting,
  decisions: printDecisions,
  writes: printWrites,
  swarmkit: printSwarmkit,
};
const [given, ...more] = process.argv.slice(2);
if (given !== undefined && given.startsWith("{")) {
  const each = JSON.parse(given) as Case;
  process.stdout.write(JSON.stringify(each.writes === true ? await measureLoop(each) : measure(each)));
} else {
  const wanted = given === undefined ? Object.keys(parts) : [given, ...more];
  const unknown = wanted.find((part) => !Object.hasOwn(parts, part));
  if (unknown !== undefined) throw new Error(`no part "${unknown}": want ${Object.keys(parts).join(", ")}`);
  const rounds = setting("BENCH_ROUNDS", 3);
  process.stdout.write(`scheduler: each case in its own process, ${rounds} rounds\n${machineLine()}\n`);
  for (const part of wanted) parts[part as keyof typeof parts]();
}
