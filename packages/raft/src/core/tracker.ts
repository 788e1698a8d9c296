/** The active configuration, and what a leader knows of each of its members. */
import { Inflights } from "./inflights.ts";
import { Progress } from "./progress.ts";
import {
  formatIds,
  jointCommitted,
  jointVote,
  jointVoters,
  sortedIds,
  type AckedIndexer,
  type JointConfig,
  type VoteResult,
} from "./quorum.ts";
import type { ConfState, NodeId } from "./types.ts";

/**
 * A configuration.
 *
 * C1: `learners` meets neither half. C2: `learnersNext` is within `outgoing`. C3: unless joint, `outgoing` and
 * `learnersNext` are empty and `autoLeave` is false.
 */
export interface Configuration extends JointConfig {
  readonly learners: ReadonlySet<NodeId>;
  readonly learnersNext: ReadonlySet<NodeId>;
  readonly autoLeave: boolean;
}

const emptyConfiguration: Configuration = Object.freeze({
  incoming: new Set<NodeId>(),
  outgoing: new Set<NodeId>(),
  learners: new Set<NodeId>(),
  learnersNext: new Set<NodeId>(),
  autoLeave: false,
});

/** `voters=(1 2)&&(1 2 3) learners=(4) learners_next=(3) autoleave` */
export function formatConfiguration(config: Configuration): string {
  let text = `voters=${formatIds(config.incoming)}`;
  if (config.outgoing.size > 0) text += `&&${formatIds(config.outgoing)}`;
  if (config.learners.size > 0) text += ` learners=${formatIds(config.learners)}`;
  if (config.learnersNext.size > 0) text += ` learners_next=${formatIds(config.learnersNext)}`;
  if (config.autoLeave) text += " autoleave";
  return text;
}

/** One line a member, ascending. */
export function formatProgress(progress: ReadonlyMap<NodeId, Progress>): string {
  return sortedIds(progress.keys())
    .map((id) => `${id}: ${String(progress.get(id))}\n`)
    .join("");
}

export function confStateOf({ incoming, outgoing, learners, learnersNext, autoLeave }: Configuration): ConfState {
  return {
    voters: sortedIds(incoming),
    votersOutgoing: sortedIds(outgoing),
    learners: sortedIds(learners),
    learnersNext: sortedIds(learnersNext),
    autoLeave,
  };
}

export class Tracker implements AckedIndexer {
  readonly maxInflightMsgs: number;
  readonly maxInflightBytes: number;
  config: Configuration = emptyConfiguration;
  /** The members' ids, ascending: the order in which everything is sent. */
  ids: readonly NodeId[] = [];
  private members: ReadonlyMap<NodeId, Progress> = new Map();
  private conf: ConfState = confStateOf(emptyConfiguration);
  private votes = new Map<NodeId, boolean>();

  constructor(maxInflightMsgs: number, maxInflightBytes: number) {
    this.maxInflightMsgs = maxInflightMsgs;
    this.maxInflightBytes = maxInflightBytes;
  }

  get progress(): ReadonlyMap<NodeId, Progress> {
    return this.members;
  }

  get(id: NodeId): Progress | undefined {
    return this.members.get(id);
  }

  switchTo(config: Configuration, progress: ReadonlyMap<NodeId, Progress>): void {
    this.config = config;
    this.conf = confStateOf(config);
    this.members = progress;
    this.ids = sortedIds(progress.keys());
  }

  newInflights(): Inflights {
    return new Inflights(this.maxInflightMsgs, this.maxInflightBytes);
  }

  /** Starts every member's progress afresh: nothing is known, and `next` is tried first. */
  resetProgress(next: number, self: NodeId): void {
    const fresh = new Map<NodeId, Progress>();
    for (const id of this.ids) {
      const learner = this.members.get(id)?.isLearner === true;
      fresh.set(id, new Progress(id === self ? next - 1 : 0, next, this.newInflights(), learner, false));
    }
    this.members = fresh;
  }

  confState(): ConfState {
    return this.conf;
  }

  voters(): NodeId[] {
    return jointVoters(this.config);
  }

  isVoter(id: NodeId): boolean {
    return this.config.incoming.has(id) || this.config.outgoing.has(id);
  }

  isSingleton(): boolean {
    return this.config.incoming.size === 1 && this.config.outgoing.size === 0;
  }

  ackedIndex(id: NodeId): number | undefined {
    return this.members.get(id)?.match;
  }

  /** The index that a quorum of each half is known to have. */
  committed(): number {
    return jointCommitted(this.config, this);
  }

  /** Whether a quorum of each half was heard from since the last check. */
  quorumActive(): boolean {
    const active = new Map<NodeId, boolean>();
    for (const [id, progress] of this.members) if (!progress.isLearner) active.set(id, progress.recentActive);
    return jointVote(this.config, active) === "VoteWon";
  }

  resetVotes(): void {
    this.votes.clear();
  }

  /** The first word of each voter counts. */
  recordVote(id: NodeId, granted: boolean): void {
    if (!this.votes.has(id)) this.votes.set(id, granted);
  }

  voteResult(): VoteResult {
    return jointVote(this.config, this.votes);
  }
}
