/** `tools/soak raft-year`: a year of ticks, in groups of 1, 3 and 5, idle and busy. */
import { parseArgs } from "node:util";

import { growth, runTicks } from "./year.ts";

const ticksADay = (24 * 60 * 60 * 1_000) / 50;
const { values } = parseArgs({ options: { days: { type: "string", default: "365" } } });
const ticks = Math.round(Number(values.days) * ticksADay);
if (!Number.isSafeInteger(ticks) || ticks < 1_000) {
  process.stderr.write("soak raft-year: --days is a number, 0.001 at the least\n");
  process.exit(2);
}
let failed = 0;
for (const members of [1, 3, 5]) {
  for (const proposeEvery of [0, 10]) {
    const begin = performance.now();
    const found = await runTicks({ members, ticks, proposeEvery });
    const grown = growth(found);
    const flat = grown < 4 * 1024 * 1024;
    if (!flat) failed++;
    const heap = found.map(([, bytes]) => (bytes / 2 ** 20).toFixed(1)).join(" ");
    const seconds = ((performance.now() - begin) / 1_000).toFixed(0);
    const what = `${members} members, ${proposeEvery === 0 ? "idle" : `a write every ${proposeEvery} ticks`}`;
    process.stdout.write(`${what}: ${flat ? "flat" : "GROWS"}, heap ${heap} MiB over ${ticks} ticks, ${seconds} s\n`);
  }
}
process.stdout.write(`${6 - failed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
