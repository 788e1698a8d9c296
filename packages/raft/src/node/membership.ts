/** Changes of who is a member, and of who leads: proposed by the leader, done when applied. */
import { assert, type Clock } from "@warren/std";

import { None, type ConfChangeSingle, type NodeId, type RawNode } from "../core/index.ts";
import { RaftError } from "../errors.ts";
import type { RaftStorage } from "../storage/index.ts";
import type { Member } from "../transport/transport.ts";
import { writeContext } from "./applier.ts";
import type { Leadership } from "./leadership.ts";
import type { ResolvedOptions } from "./options.ts";
import { notLeader, type Proposals } from "./proposals.ts";

export interface MembershipParts {
  readonly raw: RawNode;
  readonly storage: RaftStorage;
  readonly clock: Clock;
  readonly options: ResolvedOptions;
  readonly proposals: Proposals;
  readonly leadership: () => Leadership;
  readonly onLeadership: (listener: (leadership: Leadership) => void) => () => void;
  readonly wake: () => void;
}

export class Membership {
  private readonly parts: MembershipParts;
  private readonly self: NodeId;
  /** Why the core put an empty entry in a change's place. */
  private refusal: string | undefined;

  constructor(parts: MembershipParts) {
    this.parts = parts;
    this.self = parts.storage.identity.nodeId;
  }

  /** The core refused the change that is being proposed. */
  refused(why: string): void {
    this.refusal = why;
  }

  async promote(id: NodeId): Promise<void> {
    const { raw, storage, options, leadership } = this.parts;
    const progress = raw.status().progress.get(id);
    if (leadership().isLeader) {
      if (progress === undefined) throw refused(`${id} is not a member; add it as a learner first`);
      const lag = storage.lastIndex() - progress.match;
      if (lag > options.promoteLagEntries) throw refused(`${id} lags ${lag} entries behind; retry when it caught up`);
    }
    await this.change([{ type: "ConfChangeAddNode", nodeId: id }]);
  }

  async remove(id: NodeId): Promise<void> {
    if (id === this.self) throw refused("a leader does not remove itself; transfer leadership and ask the next one");
    // A voter first becomes a learner: while it is told of its removal it can't be counted, nor disturb an election.
    if (this.parts.raw.confState().voters.includes(id)) {
      await this.change([{ type: "ConfChangeAddLearnerNode", nodeId: id }]);
    }
    await this.change([{ type: "ConfChangeRemoveNode", nodeId: id }]);
  }

  async change(changes: readonly ConfChangeSingle[], members: readonly Member[] = []): Promise<void> {
    const { raw, proposals, leadership, wake } = this.parts;
    const { isLeader } = leadership();
    if (!isLeader) throw notLeader(leadership(), "members are changed by the leader");
    const { ticket, applied } = proposals.ticket(0);
    assert(ticket !== undefined, "a ticket without bytes is always given");
    this.refusal = undefined;
    const context = writeContext({ ticket, members });
    try {
      raw.proposeConfChange({ version: 2, transition: "ConfChangeTransitionAuto", changes, context });
      if (this.refusal !== undefined) throw refused(this.refusal);
    } catch (error) {
      if (!RaftError.is(error)) throw error;
      proposals.refuse(ticket.sequence, error as RaftError);
    }
    wake();
    await applied;
  }

  async transferLeadership(to: NodeId | undefined): Promise<void> {
    const { raw, clock, options, onLeadership, wake } = this.parts;
    const target = to ?? this.heir();
    if (target === undefined) throw transferFailed(None);
    raw.transferLeader(target);
    wake();
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const stop = onLeadership(({ leader }) => {
      if (leader !== undefined && leader !== this.self) resolve(leader === target);
    });
    const timer = clock.setTimeout(() => resolve(false), 2 * options.electionTicks * Math.max(options.tickMs, 1));
    const done = await promise;
    timer.cancel();
    stop();
    if (!done) throw transferFailed(target);
  }

  /** The other voter that has most of the log; only a leader knows. */
  heir(): NodeId | undefined {
    const { progress } = this.parts.raw.status();
    const voters = [...progress].filter(([id, { isLearner }]) => id !== this.self && !isLearner);
    return voters.sort(([, a], [, b]) => b.match - a.match)[0]?.[0];
  }
}

function refused(why: string): RaftError {
  return new RaftError({ code: "RAFT_MEMBERSHIP_REFUSED", why }, `membership change refused: ${why}`);
}

function transferFailed(to: NodeId): RaftError {
  return new RaftError(
    { code: "RAFT_TRANSFER_FAILED", to },
    to === None ? "there is no other voter to lead" : `member ${to} did not take over in time; this leader goes on`,
  );
}
