/**
 * Who votes, kept right beside a member: learners that caught up get a vote, and dead members are replaced.
 *
 * - `autopilot.ts` startAutopilot: observes the members while this one leads, and carries out one decision at a time
 * - `decide.ts`    decide: what to do next, and why; pure
 */
export { startAutopilot, type Autopilot, type AutopilotNode } from "./autopilot.ts";
export {
  decide,
  resolveAutopilotOptions,
  type AutopilotOptions,
  type Decision,
  type ObservedPeer,
  type ResolvedAutopilotOptions,
} from "./decide.ts";
