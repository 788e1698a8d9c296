/** Membership calls that must be refused: each would leave a group that can't go on, or members that nobody finds. */
import type { Random } from "@warren/std";

import type { ConfChangeSingle, ConfState } from "../../core/index.ts";
import type { RaftNode } from "../../node/index.ts";

const stranger = 900;
const noIds = [0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER - 1];

const add = (nodeId: number): ConfChangeSingle => ({ type: "ConfChangeAddNode", nodeId });
const learn = (nodeId: number): ConfChangeSingle => ({ type: "ConfChangeAddLearnerNode", nodeId });
const remove = (nodeId: number): ConfChangeSingle => ({ type: "ConfChangeRemoveNode", nodeId });

/** A call that the leader of a group in this configuration must refuse, and what it is. */
export function nonsense(
  random: Random,
  node: RaftNode,
  { voters }: ConfState,
): readonly [what: string, call: () => Promise<void>] {
  const pick = <T>(choices: readonly T[]): T => choices[random.int(choices.length)] as T;
  const voter = pick(voters);
  const noId = pick(noIds);
  return pick<readonly [string, () => Promise<void>]>([
    ["removal of all voters", () => node.changeMembers(voters.map(remove))],
    ["demotion of all voters", () => node.changeMembers(voters.map(learn))],
    ["removal of the leader by itself", () => node.remove(node.id)],
    ["addition of a voter as a learner", () => node.addLearner({ id: voter, address: "elsewhere" })],
    ["demotion of a stranger", () => node.demote(stranger)],
    ["promotion of a stranger", () => node.promote(stranger)],
    ["leadership for a stranger", () => node.transferLeadership(stranger)],
    ["an unknown voter", () => node.changeMembers([add(stranger)], [{ id: stranger, address: "x" }])],
    [
      "an exchange of all voters for an unknown one",
      () => node.changeMembers([add(stranger), ...voters.map(remove)], [{ id: stranger, address: "x" }]),
    ],
    ["a learner without an address", () => node.changeMembers([learn(stranger)])],
    ["an address without a member", () => node.changeMembers([], [{ id: stranger, address: "x" }])],
    ["no change", () => node.changeMembers([])],
    [`member ${noId}`, () => node.addLearner({ id: noId, address: "x" })],
    [`removal of ${noId}`, () => node.remove(noId)],
    [`promotion of ${noId}`, () => node.promote(noId)],
    ["an address that is none", () => node.addLearner({ id: stranger, address: 7 as unknown as string })],
    [
      "a change that there is not",
      () => node.changeMembers([{ type: "Other" as ConfChangeSingle["type"], nodeId: voter }]),
    ],
  ]);
}
