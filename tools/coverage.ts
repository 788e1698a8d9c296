/** Prints each library's line coverage from a summary of vitest's, and fails below the floor: `node tools/coverage.ts FILE`. */
import { readFileSync } from "node:fs";

/** Lines of a library that its unit tests must reach, percent. */
const floor = 80;
/** Libraries that only the kernel or a real containerd exercise; their cluster tests hold them. */
const clusterOnly = new Set(["netlink-napi", "net-attachment", "runtime-containerd", "testbed"]);

type Summary = Record<string, { readonly lines: { readonly total: number; readonly covered: number } }>;

const summary = JSON.parse(readFileSync(process.argv[2] ?? "coverage/coverage-summary.json", "utf8")) as Summary;
const libraries = new Map<string, { total: number; covered: number }>();
for (const [file, { lines }] of Object.entries(summary)) {
  const name = /packages\/([^/]+)\/src\//.exec(file)?.[1];
  if (name === undefined) continue;
  const sum = libraries.get(name) ?? { total: 0, covered: 0 };
  libraries.set(name, { total: sum.total + lines.total, covered: sum.covered + lines.covered });
}
for (const [name, { total, covered }] of [...libraries].toSorted(([a], [b]) => a.localeCompare(b))) {
  if (total === 0) continue;
  const percent = (100 * covered) / total;
  const judged = !clusterOnly.has(name);
  console.log(
    `${name.padEnd(20)} ${percent.toFixed(1).padStart(5)} % of ${total} lines${judged ? "" : " (unit tests alone)"}`,
  );
  if (judged && percent < floor) {
    console.error(`${name}: line coverage is under ${floor} %; test what is not reached, or delete it`);
    process.exitCode = 1;
  }
}
