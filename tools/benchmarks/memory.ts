/** Resident memory of both daemons and of what runs beside each container, idle and with 100 tasks, MB. */
import { readdirSync, readFileSync } from "node:fs";
import { until } from "@warren/std/testing";
import { Machine } from "../../apps/cli/test/machine.ts";
import { machineLine, printTable } from "./report.ts";

await using machine = await Machine.start();
const image = await machine.push("bench/sleep:1", { config: { Cmd: ["sleep", "1000000"] } });

/** Proportional set sizes of processes, MB: shared pages are counted once among those that share them. */
function megabytes(pids: readonly number[]): number {
  const kilobytes = pids.map((pid) =>
    Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1] ?? 0),
  );
  return kilobytes.reduce((sum, each) => sum + each, 0) / 1_024;
}

function processes(is: (words: readonly string[]) => boolean): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return is(readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0"));
      } catch {
        return false; // It ended meanwhile.
      }
    });
}

const namespace = machine.bed.options.namespace ?? "";
const kinds: Readonly<Record<string, (words: readonly string[]) => boolean>> = {
  manager: (words) => words.includes("manager") && words.includes(machine.dataDir),
  worker: (words) => words.includes("worker") && words.includes(machine.dataDir),
  "log programs": ([program = ""]) => program.endsWith("/warren-runtime"),
  "containerd shims": (words) => (words[0] ?? "").includes("containerd-shim") && words.includes(namespace),
};
const idle = Object.values(kinds).map((is) => megabytes(processes(is)));
const spec = {
  name: "bench",
  mode: { $case: "replicated", value: { replicas: 100 } } as const,
  task: { container: { image } },
};
await machine.client.services.create({ spec });
await until("100 tasks run", async () => (await machine.running("bench")).length === 100, 120_000);
const loaded = Object.values(kinds).map((is) => megabytes(processes(is)));
process.stdout.write(`memory: proportional set size, MB\n${machineLine()}\n\n`);
printTable(
  ["process", "idle", "100 tasks"],
  Object.keys(kinds).map((kind, i) => [kind, (idle[i] ?? 0).toFixed(1), (loaded[i] ?? 0).toFixed(1)]),
);
