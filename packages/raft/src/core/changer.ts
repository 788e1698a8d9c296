/**
 * Steps from one configuration to the next: simple (one voter at most), into a joint one, and out of it.
 *
 * A step either yields a whole new configuration or an error; what it started from is never touched.
 */
import { RaftError } from "../errors.ts";
import { isLocalTarget } from "./message.ts";
import { Progress } from "./progress.ts";
import { Tracker, type Configuration } from "./tracker.ts";
import type { ConfChangeSingle, ConfState, NodeId } from "./types.ts";

/** A configuration and its members' progress, to be switched to together. */
export interface Change {
  readonly config: Configuration;
  readonly progress: ReadonlyMap<NodeId, Progress>;
}

interface Draft {
  readonly incoming: Set<NodeId>;
  outgoing: Set<NodeId>;
  readonly learners: Set<NodeId>;
  readonly learnersNext: Set<NodeId>;
  autoLeave: boolean;
  readonly progress: Map<NodeId, Progress>;
}

/** All methods throw RaftError `RAFT_CONF_CHANGE_INVALID` rather than make an invalid configuration. */
export class Changer {
  private readonly tracker: Tracker;
  private readonly lastIndex: number;

  /** `lastIndex`: where a new member is probed first. */
  constructor(tracker: Tracker, lastIndex: number) {
    this.tracker = tracker;
    this.lastIndex = lastIndex;
  }

  /** `(1 2 3)` becomes `(changed)&&(1 2 3)`. */
  enterJoint(autoLeave: boolean, changes: readonly ConfChangeSingle[]): Change {
    const draft = this.draft();
    if (draft.outgoing.size > 0) throw invalid("config is already joint");
    if (draft.incoming.size === 0) throw invalid("can't make a zero-voter config joint");
    draft.outgoing = new Set(draft.incoming);
    this.apply(draft, changes);
    draft.autoLeave = autoLeave;
    return checked(draft);
  }

  /** `(new)&&(old)` becomes `(new)`; staged learners become learners; members of neither are forgotten. */
  leaveJoint(): Change {
    const draft = this.draft();
    if (draft.outgoing.size === 0) throw invalid("can't leave a non-joint config");
    for (const id of draft.learnersNext) {
      draft.learners.add(id);
      (draft.progress.get(id) as Progress).isLearner = true;
    }
    draft.learnersNext.clear();
    for (const id of draft.outgoing) {
      if (!draft.incoming.has(id) && !draft.learners.has(id)) draft.progress.delete(id);
    }
    draft.outgoing = new Set();
    draft.autoLeave = false;
    return checked(draft);
  }

  /** Changes that together touch one voter at most, so that any two quorums before and after meet. */
  simple(changes: readonly ConfChangeSingle[]): Change {
    const draft = this.draft();
    if (draft.outgoing.size > 0) throw invalid("can't apply simple config change in joint config");
    this.apply(draft, changes);
    if (draft.incoming.symmetricDifference(this.tracker.config.incoming).size > 1) {
      throw invalid("more than one voter changed without entering joint config");
    }
    return checked(draft);
  }

  private draft(): Draft {
    const { config } = this.tracker;
    const progress = new Map<NodeId, Progress>();
    for (const [id, member] of this.tracker.progress) progress.set(id, member.copy());
    const draft = {
      incoming: new Set(config.incoming),
      outgoing: new Set(config.outgoing),
      learners: new Set(config.learners),
      learnersNext: new Set(config.learnersNext),
      autoLeave: config.autoLeave,
      progress,
    };
    checked(draft);
    return draft;
  }

  private apply(draft: Draft, changes: readonly ConfChangeSingle[]): void {
    for (const { type, nodeId } of changes) {
      // Id 0 stands for a change that was struck out after it was proposed.
      if (nodeId === 0) continue;
      if (isLocalTarget(nodeId)) throw invalid(`${nodeId} names a local storage thread`);
      switch (type) {
        case "ConfChangeAddNode":
          this.makeVoter(draft, nodeId);
          break;
        case "ConfChangeAddLearnerNode":
          this.makeLearner(draft, nodeId);
          break;
        case "ConfChangeRemoveNode":
          remove(draft, nodeId);
          break;
        case "ConfChangeUpdateNode":
          break;
      }
    }
    if (draft.incoming.size === 0) throw invalid("removed all voters");
  }

  private makeVoter(draft: Draft, id: NodeId): void {
    const member = draft.progress.get(id);
    if (member === undefined) {
      draft.progress.set(id, this.newProgress(false));
    } else {
      member.isLearner = false;
      draft.learners.delete(id);
      draft.learnersNext.delete(id);
    }
    draft.incoming.add(id);
  }

  /** A voter of the old half can't be a learner at once (C1): it is staged until the joint configuration is left. */
  private makeLearner(draft: Draft, id: NodeId): void {
    const member = draft.progress.get(id);
    if (member === undefined) {
      draft.progress.set(id, this.newProgress(true));
      draft.learners.add(id);
      return;
    }
    if (member.isLearner) return;
    remove(draft, id);
    draft.progress.set(id, member);
    if (draft.outgoing.has(id)) {
      draft.learnersNext.add(id);
    } else {
      member.isLearner = true;
      draft.learners.add(id);
    }
  }

  /** Counts as recently active, so that a leader does not step down before the newcomer could speak. */
  private newProgress(isLearner: boolean): Progress {
    return new Progress(0, Math.max(this.lastIndex, 1), this.tracker.newInflights(), isLearner, true);
  }
}

function remove(draft: Draft, id: NodeId): void {
  draft.incoming.delete(id);
  draft.learners.delete(id);
  draft.learnersNext.delete(id);
  // A voter of the old half still counts there.
  if (!draft.outgoing.has(id)) draft.progress.delete(id);
}

function checked(draft: Draft): Change {
  const { incoming, outgoing, learners, learnersNext, progress } = draft;
  for (const id of new Set([...incoming, ...outgoing, ...learners, ...learnersNext])) {
    if (!progress.has(id)) throw invalid(`no progress for ${id}`);
  }
  for (const id of learnersNext) {
    if (!outgoing.has(id)) throw invalid(`${id} is in LearnersNext, but not Voters[1]`);
    if (progress.get(id)?.isLearner === true) {
      throw invalid(`${id} is in LearnersNext, but is already marked as learner`);
    }
  }
  for (const id of learners) {
    if (outgoing.has(id)) throw invalid(`${id} is in Learners and Voters[1]`);
    if (incoming.has(id)) throw invalid(`${id} is in Learners and Voters[0]`);
    if (progress.get(id)?.isLearner !== true) throw invalid(`${id} is in Learners, but is not marked as learner`);
  }
  if (outgoing.size === 0) {
    if (learnersNext.size > 0) throw invalid("cfg.LearnersNext must be nil when not joint");
    if (draft.autoLeave) throw invalid("AutoLeave must be false when not joint");
  }
  return { config: { incoming, outgoing, learners, learnersNext, autoLeave: draft.autoLeave }, progress };
}

function invalid(why: string): RaftError {
  return new RaftError({ code: "RAFT_CONF_CHANGE_INVALID" }, why);
}

/** Switches an empty tracker to the configuration that `state` describes. */
export function restoreConfiguration(tracker: Tracker, lastIndex: number, state: ConfState): void {
  const step = (take: (changer: Changer) => Change): void => {
    const { config, progress } = take(new Changer(tracker, lastIndex));
    tracker.switchTo(config, progress);
  };
  const change =
    (type: ConfChangeSingle["type"]) =>
    (nodeId: NodeId): ConfChangeSingle => ({ type, nodeId });
  const target = [
    ...state.voters.map(change("ConfChangeAddNode")),
    ...[...state.learners, ...state.learnersNext].map(change("ConfChangeAddLearnerNode")),
  ];
  if (state.votersOutgoing.length === 0) {
    for (const one of target) step((changer) => changer.simple([one]));
    return;
  }
  // Build the old half, then enter the joint configuration by removing all of it and adding the new half.
  for (const one of state.votersOutgoing.map(change("ConfChangeAddNode"))) step((changer) => changer.simple([one]));
  const leaving = state.votersOutgoing.map(change("ConfChangeRemoveNode"));
  step((changer) => changer.enterJoint(state.autoLeave, [...leaving, ...target]));
}
