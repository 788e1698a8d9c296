/** What `service update --dry-run` prints. Pure. */
import {
  UpdateConfig_FailureAction as FailureAction,
  UpdateConfig_Order as Order,
  type SlotKey,
  type UpdatePlan,
} from "@warren/api";
import { slotKeyText } from "@warren/api/model";
import { formatDuration } from "../units.ts";

/** Slots that one line names. */
const mostNamed = 12;

/** A line each: what is replaced, how, how long it takes at least; what else comes, goes and stays. */
export function planLines(service: string, plan: UpdatePlan): string[] {
  const { replaced, moved, added, removed, kept, versionNumber } = plan;
  const lines: string[] = [];
  if (replaced.length > 0) lines.push(`${tasks(replaced.length, "is", "are")} replaced: ${named(service, replaced)}`);
  if (moved.length > 0) lines.push(`${tasks(moved.length, "moves", "move")} to another node: ${named(service, moved)}`);
  if (added.length > 0) lines.push(`${tasks(added.length, "is", "are")} added: ${named(service, added)}`);
  if (removed.length > 0) lines.push(`${tasks(removed.length, "is", "are")} taken away: ${named(service, removed)}`);
  if (kept > 0) lines.push(`${tasks(kept, "stays", "stay")} as ${kept === 1 ? "it is" : "they are"}`);
  if (replaced.length > 0) lines.push(...paceLines(plan));
  return [
    `${service}: version ${versionNumber} (nothing is changed: this is a dry run)`,
    ...lines.map((each) => `  ${each}`),
  ];
}

function paceLines({ settings, batches, leastMs, imageDigest }: UpdatePlan): string[] {
  const { parallelism = 1, order, failureAction, delayMs = 0, monitorMs = 0 } = settings ?? {};
  const pace = parallelism === 0 ? "all at once" : `${parallelism} at a time`;
  const how =
    order === Order.START_FIRST
      ? "each new task runs before its old one stops"
      : "each old task stops before its new one starts";
  const delay = delayMs > monitorMs ? `, with ${formatDuration(delayMs)} between two batches` : "";
  return [
    `how: ${pace}, in ${batches} ${batches === 1 ? "batch" : "batches"}${delay}; ${how}`,
    `how long: at least ${formatDuration(leastMs)}, as new tasks are watched for ${formatDuration(monitorMs)}; pulling, stopping and starting come on top`,
    `if a new task fails: ${failures[failureAction || FailureAction.PAUSE] ?? ""}`,
    ...(imageDigest === ""
      ? ["image: its digest is not known, as its registry did not answer"]
      : [`image: ${imageDigest}`]),
  ];
}

const failures: Readonly<Record<number, string>> = {
  [FailureAction.PAUSE]: "the update pauses",
  [FailureAction.CONTINUE]: "the update goes on",
  [FailureAction.ROLLBACK]: "the service is rolled back",
};

function tasks(count: number, one: string, many: string): string {
  return count === 1 ? `1 task ${one}` : `${count} tasks ${many}`;
}

function named(service: string, keys: readonly SlotKey[]): string {
  const names = keys.slice(0, mostNamed).map((key) => `${service}.${slotKeyText(key)}`);
  const left = keys.length - names.length;
  return `${names.join(", ")}${left > 0 ? ` and ${left} more` : ""}`;
}
