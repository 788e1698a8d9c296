/** Changes of who is a member, and of who leads: proposed by the leader, done when applied. */
import { assert, type Clock } from "@warren/std";

import {
  isLocalTarget,
  None,
  type ConfChangeSingle,
  type ConfState,
  type NodeId,
  type RawNode,
} from "../core/index.ts";
import { RaftError } from "../errors.ts";
import type { RaftStorage } from "../storage/index.ts";
import type { Member, Transport } from "../transport/transport.ts";
import { changeRefused, isMember, writeContext } from "./change-context.ts";
import type { Leadership } from "./leadership.ts";
import type { LiveOptions } from "./options.ts";
import { notLeader, type Proposals } from "./proposals.ts";

/** It stays in the log and in each snapshot, and is sent with each change. */
const maxAddressLength = 1_024;

export interface MembershipParts {
  readonly raw: RawNode;
  readonly storage: RaftStorage;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly options: LiveOptions;
  readonly proposals: Proposals;
  /** Members as of what is applied. */
  readonly members: () => ReadonlyMap<NodeId, Member>;
  /** Whether a member was heard from within the last election timeout. */
  readonly active: (id: NodeId) => boolean;
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

  async addLearner(member: Member): Promise<void> {
    if (!isMember(member)) throw changeRefused("a member is an id and an address");
    const { voters, votersOutgoing } = this.parts.raw.confState();
    if ([...voters, ...votersOutgoing].includes(member.id)) {
      throw changeRefused(`${member.id} is a voter; demote it if it is to lose its vote`);
    }
    await this.change([{ type: "ConfChangeAddLearnerNode", nodeId: member.id }], [member]);
  }

  async update(member: Member): Promise<void> {
    if (!isMember(member)) throw changeRefused("a member is an id and an address");
    await this.change([{ type: "ConfChangeUpdateNode", nodeId: member.id }], [member]);
  }

  async demote(id: NodeId): Promise<void> {
    if (!this.parts.raw.confState().voters.includes(id)) throw changeRefused(`${id} is no voter`);
    await this.change([{ type: "ConfChangeAddLearnerNode", nodeId: id }]);
  }

  async remove(id: NodeId): Promise<void> {
    if (id === this.self) {
      throw changeRefused("a leader does not remove itself; transfer leadership and ask the next one");
    }
    // A voter first becomes a learner: while its removal is replicated it is not counted, and disturbs no election.
    if (this.parts.raw.confState().voters.includes(id)) {
      await this.change([{ type: "ConfChangeAddLearnerNode", nodeId: id }]);
    }
    await this.change([{ type: "ConfChangeRemoveNode", nodeId: id }]);
  }

  async change(changes: readonly ConfChangeSingle[], members: readonly Member[] = []): Promise<void> {
    const { raw, proposals, leadership, wake } = this.parts;
    if (!leadership().isLeader) throw notLeader(leadership(), "members are changed by the leader");
    if (!Array.isArray(changes) || !changes.every(isChange))
      throw changeRefused("a change is a type and a member's id");
    if (!Array.isArray(members) || !members.every(isMember)) throw changeRefused("a member is an id and an address");
    const change = { version: 2, transition: "ConfChangeTransitionAuto", changes } as const;
    this.check(changes, members);
    const next = raw.tryConfChange(change);
    if (typeof next === "string") throw changeRefused(next);
    this.checkOutcome(next, members);
    const { ticket, applied } = proposals.ticket(0);
    assert(ticket !== undefined, "a ticket without bytes is always given");
    this.refusal = undefined;
    try {
      raw.proposeConfChange({ ...change, context: writeContext({ ticket, members }) });
      if (this.refusal !== undefined) throw changeRefused(this.refusal);
    } catch (error) {
      if (!RaftError.is(error)) throw error;
      proposals.refuse(ticket.sequence, error);
    }
    wake();
    await applied;
  }

  async transferLeadership(to: NodeId | undefined): Promise<void> {
    const { raw, clock, options, leadership, onLeadership, wake } = this.parts;
    if (!leadership().isLeader) throw notLeader(leadership(), "leadership is handed over by the leader");
    const target = to ?? this.heir();
    if (target === undefined) throw transferFailed(None);
    if (target === this.self) return;
    this.checkVoter(target);
    raw.transferLeader(target);
    wake();
    const { electionTicks, tickMs } = options.current;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const stop = onLeadership(({ leader }) => {
      if (leader !== undefined && leader !== this.self) resolve(leader === target);
    });
    const timer = clock.setTimeout(() => resolve(false), 2 * electionTicks * Math.max(tickMs, 1));
    const done = await promise;
    timer.cancel();
    stop();
    if (!done) throw transferFailed(target);
  }

  /** @throws RaftError `RAFT_MEMBERSHIP_REFUSED` */
  checkVoter(id: NodeId): void {
    if (!this.parts.raw.confState().voters.includes(id))
      throw changeRefused(`${String(id)} is no voter, so it can't lead`);
  }

  /** The other voter that has most of the log; only a leader knows. */
  heir(): NodeId | undefined {
    const { progress } = this.parts.raw.status();
    const voters = [...progress].filter(([id, { isLearner }]) => id !== this.self && !isLearner);
    return voters.sort(([, a], [, b]) => b.match - a.match)[0]?.[0];
  }

  /** That the change and its members can be written down, and found again by everyone. */
  private check(changes: readonly ConfChangeSingle[], members: readonly Member[]): void {
    const { transport } = this.parts;
    for (const id of [...changes.map(({ nodeId }) => nodeId), ...members.map((member) => member.id)]) {
      if (Number.isSafeInteger(id) && id > None && !isLocalTarget(id)) continue;
      throw changeRefused(`${String(id)} is no member's id: that is a whole number from 1 to 2^53 − 3`);
    }
    for (const { id, address } of members) {
      const problem =
        address.length > maxAddressLength ? "its address is too long" : transport.addressProblem?.(address);
      if (problem !== undefined) throw changeRefused(`member ${id} can't be found: ${problem}`);
    }
  }

  /** That the group can go on in the configuration that the change leads to. */
  private checkOutcome(next: ConfState, added: readonly Member[]): void {
    const { raw, storage, options, members, active } = this.parts;
    const { voters, learners, votersOutgoing } = raw.confState();
    const known = new Set([...members().keys(), ...added.map(({ id }) => id)]);
    const everyone = [...next.voters, ...next.learners, ...next.learnersNext];
    const lost = everyone.find((id) => !known.has(id));
    if (lost !== undefined) throw changeRefused(`no address of member ${lost} is known; give one`);
    const stray = added.find(({ id }) => !everyone.includes(id));
    if (stray !== undefined) throw changeRefused(`${stray.id} is no member after this change, so it has no address`);
    const { progress } = raw.status();
    for (const id of next.voters.filter((one) => !voters.includes(one) && !votersOutgoing.includes(one))) {
      if (!learners.includes(id)) throw changeRefused(`${id} is not a member; add it as a learner first`);
      const lag = storage.lastIndex() - (progress.get(id)?.match ?? 0);
      if (lag > options.current.promoteLagEntries) {
        throw changeRefused(`${id} lags ${lag} entries behind; retry when it caught up`);
      }
    }
    const heard = next.voters.filter((id) => id === this.self || active(id));
    if (heard.length > next.voters.length / 2) return;
    const silent = next.voters.filter((id) => !heard.includes(id));
    throw changeRefused(
      `of the voters ${next.voters.join(", ")} that it leaves, ${silent.join(", ")} can't be heard now`,
    );
  }
}

function isChange(value: unknown): value is ConfChangeSingle {
  return typeof value === "object" && value !== null && "type" in value && "nodeId" in value;
}

function transferFailed(to: NodeId): RaftError {
  return new RaftError(
    { code: "RAFT_TRANSFER_FAILED", to },
    to === None ? "there is no other voter to lead" : `member ${to} did not take over in time; this leader goes on`,
  );
}
