import { isNodeId, type Config } from "../core/index.ts";
import type { Levels } from "../levels.ts";
import { checkNumber, optionInvalid, withDefaults } from "../option-checks.ts";
import { tagsProblem, type Member, type Tags } from "../transport/transport.ts";

/** Options of a node. Those of `bootstrap`, `tickMs` and `electionTicks` are the same on every member. */
export interface RaftNodeOptions {
  /**
   * The first members of a new cluster, the same list on each of them. Used only by a member with an empty storage. Once
   * others have joined a lone founder, leave it out: founding again on a lost disk makes a second cluster.
   */
  readonly bootstrap?: readonly Member[];
  /** Addresses of some members of an existing cluster, for a member that joins: it learns the others from them. */
  readonly join?: readonly Member[];
  /** A tick, ms; 0: the caller calls `tick()`. The default assumes round trips below 100 ms. @default 50 */
  readonly tickMs?: number;
  /** Ticks without a leader before an election, drawn from `[n, 2n)`. @default 10 */
  readonly electionTicks?: number;
  /** Ticks between heartbeats. @default 1 */
  readonly heartbeatTicks?: number;
  /** `lease` reads without a round trip; assumes that no clock runs 10 % faster than another. @default "safe" */
  readonly reads?: "safe" | "lease";
  /** Entries between snapshots. @default 10000 */
  readonly snapshotEntries?: number;
  /** Entries kept behind a snapshot, for followers that are slow. @default 5000 */
  readonly trailingEntries?: number;
  /**
   * Bytes of one proposal; a larger one is refused where it enters. It travels in one message, so the transport must
   * carry it: gRPC's carries up to 48 MiB. The same on every member. @default 16 MiB
   */
  readonly maxProposalBytes?: number;
  /** Bytes of proposals taken and not yet applied here; more are dropped. @default 64 MiB */
  readonly maxPendingBytes?: number;
  /** Bytes of entries in one message to a follower; a larger entry still goes, alone. @default 1 MiB */
  readonly maxAppendBytes?: number;
  /** Messages with entries on their way to one follower. @default 256 */
  readonly maxInflightMessages?: number;
  /** Bytes of entries on their way to one follower; at least `maxAppendBytes`. @default 16 MiB */
  readonly maxInflightBytes?: number;
  /** After this a proposal without an answer ends in `RAFT_OUTCOME_UNKNOWN`, ms. @default 5000 */
  readonly proposalTimeoutMs?: number;
  /** After this a read ends in `RAFT_READ_TIMEOUT`, ms. @default 5000 */
  readonly readTimeoutMs?: number;
  /** A write or an application that takes longer makes a leader give way, ms. @default 1000 */
  readonly stallMs?: number;
  /** Log time after which an unused session ends, ms. @default 3600000 */
  readonly sessionTtlMs?: number;
  /** Entries that a learner may lag behind and still be promoted. @default 1000 */
  readonly promoteLagEntries?: number;
  /**
   * The level that is written; every member must read it. The storage's own, if that is higher.
   * @default the lowest that this program reads
   */
  readonly activeLevel?: number;
  /**
   * Followers hand proposals to the leader; else they reject `RAFT_NOT_LEADER`. What is handed on is committed behind
   * commands that its proposer never saw. @default false
   */
  readonly forwardProposals?: boolean;
  /**
   * What this member says of itself to the others, for the program around them, which finds it by `onPeers`: its version,
   * for instance. At most 1,024 bytes as JSON; not stored. @default {}
   */
  readonly tags?: Tags;
}

/**
 * Options that may change while the member runs, by `changeOptions`. The others are what the members agree on (ticks,
 * the largest proposal), what their windows were made for, or what this member was started as.
 */
export type ChangeableOptions = Pick<
  RaftNodeOptions,
  | "snapshotEntries"
  | "trailingEntries"
  | "proposalTimeoutMs"
  | "readTimeoutMs"
  | "stallMs"
  | "sessionTtlMs"
  | "promoteLagEntries"
>;

type Undecided = "bootstrap" | "activeLevel";
export type ResolvedOptions = Required<Omit<RaftNodeOptions, Undecided>> & Pick<RaftNodeOptions, Undecided>;

const defaults = {
  join: [],
  tickMs: 50,
  electionTicks: 10,
  heartbeatTicks: 1,
  reads: "safe",
  snapshotEntries: 10_000,
  trailingEntries: 5_000,
  maxProposalBytes: 16 * 1024 * 1024,
  maxPendingBytes: 64 * 1024 * 1024,
  maxAppendBytes: 1024 * 1024,
  maxInflightMessages: 256,
  maxInflightBytes: 16 * 1024 * 1024,
  proposalTimeoutMs: 5_000,
  readTimeoutMs: 5_000,
  stallMs: 1_000,
  sessionTtlMs: 3_600_000,
  promoteLagEntries: 1_000,
  forwardProposals: false,
  tags: {},
} as const satisfies RaftNodeOptions;

/** Checks options and fills in defaults. @throws RaftError `RAFT_OPTIONS_INVALID` */
export function resolveOptions(options: RaftNodeOptions): ResolvedOptions {
  const resolved: ResolvedOptions = withDefaults(defaults, options);
  for (const [option, fallback] of Object.entries(defaults)) {
    const value: unknown = resolved[option as keyof typeof defaults];
    if (typeof fallback === "number") {
      // What is zero is off, or given by the caller. A session's time stands in the log, which holds whole numbers.
      const least = option === "tickMs" || option === "trailingEntries" || option === "promoteLagEntries" ? 0 : 1;
      checkNumber(option, value, least, !option.endsWith("Ms") || option === "sessionTtlMs");
    } else if (typeof fallback === "boolean" && typeof value !== "boolean") {
      throw optionInvalid(option, "is neither true nor false");
    }
  }
  if (resolved.reads !== "safe" && resolved.reads !== "lease")
    throw optionInvalid("reads", 'is neither "safe" nor "lease"');
  if (resolved.maxInflightBytes < resolved.maxAppendBytes) {
    throw optionInvalid("maxInflightBytes", "is below maxAppendBytes");
  }
  if (resolved.reads === "lease" && resolved.tickMs === 0) {
    throw optionInvalid("reads", "is lease, and lease reads need tickMs above 0");
  }
  const tagsWrong = tagsProblem(resolved.tags);
  if (tagsWrong !== undefined) throw optionInvalid("tags", tagsWrong);
  for (const option of ["bootstrap", "join"] as const) checkMembers(option, resolved[option]);
  return Object.freeze(resolved);
}

const changeable: Readonly<Record<keyof ChangeableOptions, true>> = {
  snapshotEntries: true,
  trailingEntries: true,
  proposalTimeoutMs: true,
  readTimeoutMs: true,
  stallMs: true,
  sessionTtlMs: true,
  promoteLagEntries: true,
};

/** The options of a member that runs. */
export class LiveOptions {
  private held: ResolvedOptions;

  constructor(options: ResolvedOptions) {
    this.held = options;
  }

  get current(): ResolvedOptions {
    return this.held;
  }

  /** All of the changes, or none. @throws RaftError `RAFT_OPTIONS_INVALID` */
  change(changes: ChangeableOptions): void {
    for (const [option, value] of Object.entries(changes ?? {})) {
      if (!Object.hasOwn(changeable, option)) {
        throw optionInvalid(
          option,
          "is not one that may change while the member runs; start it again with another value",
        );
      }
      if (typeof value === "number") continue;
      throw optionInvalid(option, "is no number");
    }
    this.held = resolveOptions({ ...this.held, ...changes });
  }
}

/** What was written is not unwritten: a storage's level stands, whatever the option says. @throws RaftError `RAFT_OPTIONS_INVALID` */
export function startLevel(wanted: number | undefined, stored: number, { minLevel, level }: Levels): number {
  if (wanted !== undefined && !(Number.isSafeInteger(wanted) && wanted >= minLevel && wanted <= level)) {
    throw optionInvalid("activeLevel", `is ${wanted}, and this program reads levels ${minLevel} to ${level}`);
  }
  return Math.max(wanted ?? minLevel, stored);
}

function checkMembers(option: string, members: readonly Member[] | undefined): void {
  if (members === undefined) return;
  const nobody = option === "bootstrap" && members.length === 0;
  const problem = nobody ? "names nobody; leave it out to join others" : membersProblem(members);
  if (problem !== undefined) throw optionInvalid(option, problem);
}

/** What is wrong with a list of members, if anything. */
export function membersProblem(members: readonly Member[]): string | undefined {
  if (!Array.isArray(members)) return "is no list of members";
  for (const { id, address } of members.map((member: Partial<Member> | null) => member ?? {})) {
    if (!isNodeId(id)) {
      return `has the id ${String(id)}; an id is a whole number from 1 to 2^53 − 3`;
    }
    if (typeof address !== "string") return `has no address for member ${id}`;
  }
  return new Set(members.map(({ id }) => id)).size < members.length ? "names a member twice" : undefined;
}

/** How much of the time that followers keep still is used as lease: clocks may drift apart by the rest. */
const leaseShare = 0.9;

/** How long after a round of heartbeats a leader reads alone. A follower's first tick may come right after it heard. */
export function leaseMs({ electionTicks, tickMs }: ResolvedOptions): number {
  return leaseShare * (electionTicks - 1) * tickMs;
}

/** What the options mean to the core. */
export function coreOptions(options: ResolvedOptions): Partial<Config> {
  const { electionTicks, heartbeatTicks, maxPendingBytes, forwardProposals, reads } = options;
  return {
    electionTicks,
    heartbeatTicks,
    maxSizePerMsg: options.maxAppendBytes,
    maxInflightMsgs: options.maxInflightMessages,
    maxInflightBytes: options.maxInflightBytes,
    asyncStorageWrites: true,
    maxCommittedSizePerReady: 4 * 1024 * 1024,
    maxUncommittedEntriesSize: maxPendingBytes * 2,
    disableProposalForwarding: !forwardProposals,
    readOnlyOption: reads,
  };
}
