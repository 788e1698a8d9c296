/** What an update would do, in the API's terms. */
import type { UpdatePlan } from "@warren/api";
import { previewUpdate, roleOf } from "@warren/orchestrator/plan";
import type { View } from "@warren/store";
import { resolve } from "./access.ts";

/** @param view in which the update is done */
export function planOf(view: View, serviceId: string, now: number): UpdatePlan {
  const service = resolve(view, "services", serviceId);
  const wanted = resolve(view, "versions", service.versionId);
  const { replaced, moved, added, removed, ...preview } = previewUpdate({
    service,
    wanted,
    versions: view.find("versions", "service", serviceId),
    slots: view.find("slots", "service", serviceId),
    tasks: view.find("tasks", "service", serviceId),
    nodeOf: (nodeId) => view.get("nodes", nodeId),
    roleOf: (nodeId) => roleOf(view, nodeId),
    now,
  });
  return {
    versionNumber: wanted.number,
    imageDigest: wanted.imageDigest,
    replaced: [...replaced],
    moved: [...moved],
    added: [...added],
    removed: [...removed],
    ...preview,
  };
}
