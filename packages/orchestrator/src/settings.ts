/**
 * Which version a service is to have, and which settings its changes go by: functions of what is stored.
 */
import {
  UpdateConfig_Order as Order,
  UpdateStatus_State as State,
  type Service,
  type UpdateConfig,
  type UpdateStatus,
  type Version,
} from "@warren/api";
import { idOf } from "@warren/api/model";

/** How many ids `recent_version_ids` and `completed_version_ids` keep: as many as Kubernetes' `revisionHistoryLimit`. */
const keptVersions = 10;

/** The stored status, if it speaks of the version that is wanted now. */
export function statusOf(service: Service): UpdateStatus | undefined {
  return service.updateStatus?.versionId === service.versionId ? service.updateStatus : undefined;
}

/** A rollback is under way, or paused. One that is over is none. */
export function isRollingBack(service: Service): boolean {
  const status = statusOf(service);
  return status?.rollback === true && (status.state === State.ROLLING_BACK || status.state === State.ROLLBACK_PAUSED);
}

/** `update` of the spec, but `rollback` while a rollback is under way. Drains and moves go by it too. */
export function settingsOf(service: Service): UpdateConfig | undefined {
  return isRollingBack(service) ? service.spec?.rollback : service.spec?.update;
}

export function isStartFirst(service: Service): boolean {
  return settingsOf(service)?.order === Order.START_FIRST;
}

/** The version that an automatic rollback returns to: the last that completed and is not the wanted one. */
export function rollbackTarget(service: Service): string | undefined {
  return service.completedVersionIds.find((id) => id !== service.versionId);
}

/** Why a rollback follows by itself; nothing of one that a user asks for. */
export type RollbackCause = Pick<UpdateStatus, "cause" | "failedSlot" | "failedEnd">;

export const noCause: RollbackCause = { cause: "", failedSlot: undefined, failedEnd: undefined };

/**
 * What of the service a rollback to `version` changes. Replicas, ports and labels stay.
 *
 * @param index of the command's epoch
 */
export function rollbackTo(
  service: Service,
  version: Version,
  message: string,
  now: number,
  index: number,
  cause: RollbackCause = noCause,
): Partial<Service> {
  const at = new Date(now);
  return {
    ...(service.spec !== undefined && { spec: { ...service.spec, task: version.task } }),
    versionId: idOf(version),
    recentVersionIds: withVersion(service.recentVersionIds, idOf(version)),
    updateStatus: {
      state: State.ROLLING_BACK,
      startedAt: at,
      completedAt: undefined,
      message,
      versionId: idOf(version),
      fromVersionId: service.versionId,
      rollback: true,
      blocked: "",
      progressAt: at,
      sinceIndex: index,
      ...cause,
    },
  };
}

/** The ids with `id` first, at most as many as are kept. */
export function withVersion(ids: readonly string[], id: string): string[] {
  return [id, ...ids.filter((each) => each !== id)].slice(0, keptVersions);
}

/** Containers of both would be equal: nothing is replaced for the difference. */
export function sameMake(a: Version | undefined, b: Version | undefined): boolean {
  return a !== undefined && b !== undefined && (idOf(a) === idOf(b) || (a.make !== "" && a.make === b.make));
}
