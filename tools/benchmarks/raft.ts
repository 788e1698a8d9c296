/**
 * `tools/bench raft [speed|failover|memory]`: three members of @warren/raft as processes on this machine and one disk.
 *
 * speed     committed writes with 1 client, with 1 beside a load generator, and with 1,000, in turns with Debian's etcd
 *           (BENCH_MS, BENCH_ROUNDS, BENCH_WARM_MS)
 * failover  from a killed leader to the next acknowledged write (BENCH_FAILOVERS)
 * memory    a leader at saturation, one whose follower is down, and one that streams a large snapshot (BENCH_PART:
 *           saturated, down or stream alone; BENCH_SNAPSHOT_MIB, BENCH_MS)
 *
 * BENCH_DIR is where their data go; it decides which disk is measured. With BENCH_WITHOUT_JOURNAL=1 the speed of members
 * whose logs have no journal, only LevelDB, is measured in the same turns; with BENCH_SMALL=1 that of members with a small
 * heap, which the memory is measured of.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";

import { makeAuthority } from "@warren/raft/testing";

import { failover } from "./raft-failover.ts";
import { memory } from "./raft-memory.ts";
import { speed } from "./raft-speed.ts";
import { machineLine } from "./report.ts";

const benchmarks = { speed, failover, memory };
const name = process.argv[2] ?? "speed";
const benchmark = Object.hasOwn(benchmarks, name) ? benchmarks[name as keyof typeof benchmarks] : undefined;
if (benchmark === undefined) {
  console.error(`bench raft: no part "${name}"; there are ${Object.keys(benchmarks).join(", ")}`);
  process.exit(2);
}
const directory = mkdtempSync(join(process.env["BENCH_DIR"] ?? process.cwd(), ".bench-raft-"));
try {
  console.log(machineLine());
  const certificates = join(directory, "certificates");
  await makeAuthority(certificates);
  await benchmark(directory, certificates);
} finally {
  rmSync(directory, { recursive: true });
}
process.exit();
