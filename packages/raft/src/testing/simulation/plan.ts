/** What a seed decides: the cluster, its options, and which faults it meets. */
import type { Random } from "@warren/std";

import type { RaftNodeOptions } from "../../node/index.ts";
import type { JournalShape } from "../../storage/journal.ts";

/** Kinds of trouble, each on or off for a whole run, so that some runs meet one alone and others all of them. */
export const troubles = [
  "partitions",
  "weather",
  "crashes",
  "power",
  "stops",
  "stalls",
  "write-errors",
  "full-disks",
  "damage",
  "wipes",
  "wedged-machines",
  "clock-jumps",
  "transfers",
  "drains",
  "membership",
] as const;

export type Trouble = (typeof troubles)[number];

export interface Plan {
  readonly members: number;
  readonly clients: number;
  readonly keys: number;
  /** What clients write is at least so long, bytes; above a sector's length a record of the journal can tear. */
  readonly valueBytes: number;
  /** A client pauses for up to this between two operations, ms. */
  readonly pauseMs: number;
  /** How long faults come, ms. */
  readonly chaosMs: number;
  /** Mean time between faults, ms. */
  readonly faultEveryMs: number;
  readonly troubles: ReadonlySet<Trouble>;
  /** Entries kept in memory, bytes; little, so that older ones are read from disk. */
  readonly cacheBytes: number;
  readonly syncMs: number;
  /** The log's journal; none: the log is written to the store alone. */
  readonly journal: JournalShape | undefined;
  /** Each machine's clock runs between 1 − this and 1 + this as fast as the world's. */
  readonly drift: number;
  /** Members run programs of two levels, each the one or the other at each start, until the active level is raised. */
  readonly mixedPrograms: boolean;
  readonly options: RaftNodeOptions;
}

export function planOf(random: Random): Plan {
  const pick = <T>(...choices: readonly T[]): T => choices[random.int(choices.length)] as T;
  // Each alone in turn, or some, or all.
  const share = pick(0.15, 0.4, 1);
  const chosen = troubles.filter(() => random.next() < share);
  return {
    members: pick(1, 3, 3, 3, 3, 5),
    clients: 2 + random.int(3),
    keys: 1 + random.int(4),
    valueBytes: pick(1, 1, 600),
    pauseMs: pick(15, 60, 120),
    chaosMs: pick(4_000, 8_000, 16_000),
    faultEveryMs: pick(150, 400, 900),
    troubles: new Set(chosen),
    cacheBytes: pick(1, 2_000, 1_000_000),
    syncMs: pick(1, 5, 20),
    // Mostly small, so that its halves are full soon.
    journal: pick(
      { halfBytes: 4_096, largestRecordBytes: 1_024 },
      { halfBytes: 4_096, largestRecordBytes: 4_096 },
      { halfBytes: 128 * 1_024, largestRecordBytes: 16 * 1_024 },
      undefined,
    ),
    drift: 0.045,
    mixedPrograms: false,
    options: {
      tickMs: pick(20, 50),
      electionTicks: pick(5, 10),
      reads: pick("safe", "lease"),
      snapshotEntries: pick(5, 15, 40, 10_000),
      trailingEntries: pick(0, 3, 20),
      maxAppendBytes: pick(1, 200, 1_000_000),
      maxInflightMessages: pick(2, 8, 256),
      proposalTimeoutMs: 1_500,
      readTimeoutMs: 1_500,
      stallMs: pick(300, 1_000),
      sessionTtlMs: pick(2_000, 60_000),
      promoteLagEntries: 20,
      forwardProposals: random.int(4) > 0,
    },
  };
}
