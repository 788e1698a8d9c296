/**
 * A manager's part in a cluster: none, locked, or member; and the work that it does while it leads.
 *
 * - `membership.ts`    Membership, Part, Member: opening, founding, closing
 * - `serve.ts`         bindToMember, memberOf: services bound once; leadershipOf: the barrier of their reads
 * - `leader-work.ts`   whileLeading: work that begins and ends with a term
 * - `levels.ts`        the levels of the managers' programs, as stored in the cluster
 * - `consensus.ts`     this manager's member of the Raft group
 * - `identity-file.ts` which cluster it belongs to
 * - `errors.ts`        MembershipError and its codes
 */
export { Membership, removeMembership, type Member, type MembershipDependencies, type Part } from "./membership.ts";
export { bindToMember, leadershipOf, memberOf } from "./serve.ts";
export { whileLeading, type LeaderTerm, type LeaderWork, type LeaderWorkDependencies } from "./leader-work.ts";
export { MembershipError, type MembershipFailure } from "./errors.ts";
