/** What begins a new group from an old one's state: a recovered log, an imported snapshot. */
import type { ConfState, NodeId } from "../core/index.ts";
import { RaftError } from "../errors.ts";
import type { Member } from "../transport/transport.ts";
import { membersProblem } from "./options.ts";

export interface NewGroup {
  readonly members: readonly Member[];
  readonly clusterId: string;
  /** Whose storage it begins in. */
  readonly nodeId: NodeId;
  /** The old group's cluster id. */
  readonly old: string;
}

/** @throws RaftError `RAFT_ARGUMENT_INVALID` */
export function checkNewGroup({ members, clusterId, nodeId, old }: NewGroup): void {
  const refused = (argument: string, why: string): RaftError =>
    new RaftError({ code: "RAFT_ARGUMENT_INVALID", argument }, `no new group is made: ${why}`);
  const problem = membersProblem(members);
  if (problem !== undefined) throw refused("members", `its list of members ${problem}`);
  if (!members.some(({ id }) => id === nodeId))
    throw refused("members", `its members do not name ${nodeId}, whose storage it is`);
  if (clusterId === old)
    throw refused(
      "clusterId",
      `by the old group's id, ${old}, its voters could come back and be counted; choose another`,
    );
}

/** Alone at first: the others have no log, so they can't be counted before they have been sent one. */
export function aloneAmong(members: readonly Member[], nodeId: NodeId): ConfState {
  return {
    voters: [nodeId],
    learners: members.flatMap(({ id }) => (id === nodeId ? [] : [id])).sort((a, b) => a - b),
    votersOutgoing: [],
    learnersNext: [],
    autoLeave: false,
  };
}
