/**
 * What an update would do to a service's slots, by the functions that do it.
 */
import {
  UpdateConfig,
  UpdateConfig_FailureAction as FailureAction,
  UpdateConfig_Order as Order,
  type Service,
  type SlotKey,
  type Version,
} from "@warren/api";
import { compareSlotKeys, defaultParallelism, numberedSlot } from "@warren/api/model";
import { defaultDownGraceMs } from "./options.ts";
import { progressDeadline, replicasOf } from "./reading.ts";
import { isOutdated, monitorOf, paceOf } from "./rollout.ts";
import { resize } from "./scaling.ts";
import { bySlot, sourcesOf, type ServiceSituation } from "./service-plan.ts";
import { settingsOf } from "./settings.ts";
import { readSlot, type SlotReading } from "./slots.ts";

export interface UpdatePreview {
  /** Their task is replaced by one of the wanted version. */
  readonly replaced: readonly SlotKey[];
  /** Their task stays as it is, but may not stay on its node. One whose node is down is none of them. */
  readonly moved: readonly SlotKey[];
  readonly added: readonly SlotKey[];
  readonly removed: readonly SlotKey[];
  readonly kept: number;
  /** Complete. */
  readonly settings: UpdateConfig;
  readonly batches: number;
  /** How long the tasks of all batches are watched, ms. */
  readonly leastMs: number;
}

export interface PreviewInput extends Pick<ServiceSituation, "versions" | "slots" | "tasks" | "nodeOf" | "roleOf"> {
  /** Wall time, ms. */
  readonly now: number;
  /** As it is after the update. */
  readonly service: Service;
  readonly wanted: Version;
}

/** Pure. */
export function previewUpdate(input: PreviewInput): UpdatePreview {
  const { service, wanted, slots, tasks } = input;
  // Whether the clock was set lately, only the orchestrator's leader knows.
  const at = { now: input.now, steadyMs: Number.POSITIVE_INFINITY, sinceStepMs: Number.POSITIVE_INFINITY };
  const sources = sourcesOf(wanted, { ...input, downGraceMs: defaultDownGraceMs, at });
  const tasksOf = bySlot(tasks);
  const readings = slots
    .filter((slot) => slot.wanted)
    .toSorted((a, b) => compareSlotKeys(a.key, b.key))
    .map((slot) => readSlot(slot, tasksOf(slot), sources));
  const { remove, add } = resize(readings, replicasOf(service));
  const stay = readings.filter((reading) => !remove.includes(reading));
  const replaced = stay.filter(isOutdated);
  const moved = stay.filter((reading) => !isOutdated(reading) && mustLeave(reading));
  return {
    replaced: keysOf(replaced),
    moved: keysOf(moved),
    added: add.map(numberedSlot),
    removed: keysOf(remove),
    kept: stay.length - replaced.length - moved.length,
    settings: completeSettings(service),
    ...paceOf(service, replaced.length),
  };
}

function mustLeave(reading: SlotReading): boolean {
  const { leading } = reading;
  return leading !== undefined && reading.displacementOf(leading).kind === "must-go";
}

function keysOf(readings: readonly SlotReading[]): SlotKey[] {
  return readings.map(({ slot }) => slot.key).filter((key) => key !== undefined);
}

function completeSettings(service: Service): UpdateConfig {
  const settings = UpdateConfig.fromPartial(settingsOf(service) ?? {});
  return {
    ...settings,
    parallelism: settings.parallelism ?? defaultParallelism,
    order: settings.order || Order.STOP_FIRST,
    failureAction: settings.failureAction || FailureAction.PAUSE,
    monitorMs: monitorOf(service),
    progressDeadlineMs: progressDeadline(settings),
  };
}
