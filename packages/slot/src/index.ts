/**
 * Restart decisions: what follows the end of a slot's run. Worker and manager run the same code.
 *
 * - `next-run.ts` the restart decision: `nextRun`, `isFailure`, and the waits
 * - `record.ts`   a slot's record: created, carried through boot time, taken over by another node
 * - `text.ts`     ends of runs and durations, for people
 */
export {
  isFailure,
  nextRun,
  rejectionDelayMs,
  shortRunMs,
  shortRunFloorMs,
  steadyRunMs,
  type NextRun,
} from "./next-run.ts";
export {
  adoptRecord,
  emptyRecord,
  recordAt,
  recordStart,
  remainingWait,
  windowElapsed,
  withRunCounts,
} from "./record.ts";
export { durationText, endText } from "./text.ts";
