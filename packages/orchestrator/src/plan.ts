/**
 * The pure part of the orchestrator, as `@warren/orchestrator/plan`: decisions without a store, a clock or a loop.
 */
export { planService, type ServiceSituation } from "./service-plan.ts";
export type { Plan } from "./writes.ts";
export { phaseOf } from "./rollout.ts";
export { defaultProgressDeadlineMs } from "./reading.ts";
export {
  isRollingBack,
  isStartFirst,
  rollbackTarget,
  rollbackTo,
  sameMake,
  settingsOf,
  withVersion,
} from "./settings.ts";
export { releaseSlackMs } from "./displacement.ts";
export { roleOf } from "./scheduling-input.ts";
export { addressRestMs } from "./slot-draft.ts";
export { startFirstObstacle, type Obstacle } from "./start-first.ts";
export { previewUpdate, type PreviewInput, type UpdatePreview } from "./update-preview.ts";
