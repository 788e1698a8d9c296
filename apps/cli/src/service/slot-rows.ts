/** A row for each slot of a service, for people who watch it change on a terminal. Pure. */
import { TaskState, type Task } from "@warren/api";
import { compareSlotKeys, hasEnded, isMeantToRun, isRunning, newestTask, slotName, stateOf } from "@warren/api/model";
import { printable } from "../output.ts";
import { formatAge } from "../units.ts";
import type { Observed } from "./convergence.ts";

export interface SlotRow {
  readonly name: string;
  readonly text: string;
  /** Nothing more is waited for in it. */
  readonly done: boolean;
}

export interface Frame {
  /** The whole in one line. */
  readonly text: string;
  readonly rows: readonly SlotRow[];
  readonly elapsedMs: number;
}

/** @param wanted slots; 0 where all are to go */
export function slotRows(observed: Observed, wanted: number, now: number): readonly SlotRow[] {
  const bySlot = Map.groupBy(observed.tasks.values(), ({ slotId }) => slotId);
  return [...bySlot.values()]
    .map((tasks) => ({ tasks, newest: newestTask(tasks) }))
    .filter((each): each is { tasks: Task[]; newest: Task } => each.newest !== undefined)
    .filter(({ tasks }) => wanted > 0 || tasks.some((task) => !hasEnded(task)))
    .toSorted((a, b) => compareSlotKeys(a.newest.slot, b.newest.slot))
    .map(({ tasks, newest }) => {
      const next = newestTask(tasks.filter((task) => task.current && task.upToDate && isWanted(task)));
      const row = rowOf(observed, tasks, next, now);
      return { name: slotName(newest), ...row };
    });
}

function rowOf(
  observed: Observed,
  tasks: readonly Task[],
  next: Task | undefined,
  now: number,
): { readonly text: string; readonly done: boolean } {
  const old = newestTask(tasks.filter((task) => task !== next && !hasEnded(task) && hasBegun(task)));
  const isStopping = old !== undefined && !isMeantToRun(old);
  const stopping = isStopping ? stopText(observed, old, now) : "";
  if (next !== undefined) {
    if (isRunning(next)) return { text: isChecked(next) ? "healthy" : "running", done: true };
    if (next.settled !== "") return { text: wordOf(next), done: true };
    // What it waits for is that the one before it goes.
    if (isStopping && stateOf(next) <= TaskState.READY)
      return { text: `stopping the old one: ${stopping}`, done: false };
    return { text: wordOf(next), done: false };
  }
  if (isStopping) return { text: `stopping: ${stopping}`, done: false };
  if (old !== undefined) return { text: "not updated yet: the old one runs", done: false };
  const last = newestTask(tasks);
  return { text: last === undefined ? "" : wordOf(last), done: last?.settled !== "" };
}

function isWanted(task: Task): boolean {
  return isMeantToRun(task) || task.settled !== "";
}

function hasBegun(task: Task): boolean {
  return stateOf(task) >= TaskState.STARTING;
}

function isChecked({ spec, status }: Task): boolean {
  return spec?.container?.healthCheck !== undefined || (status?.container?.health ?? 0) !== 0;
}

/** `7s of 10s`, as long as it may take before it is killed. */
function stopText({ stopsSince }: Observed, task: Task, now: number): string {
  const graceMs = task.spec?.container?.stopGraceMs ?? 10_000;
  const since = stopsSince.get(task.meta?.id ?? "") ?? now;
  return `${formatAge(Math.min(now - since, graceMs))} of ${formatAge(graceMs)}`;
}

/** What a task is at. */
function wordOf(task: Task): string {
  const { message = "", pull, container } = task.status ?? {};
  switch (stateOf(task)) {
    case TaskState.UNSPECIFIED:
    case TaskState.NEW:
    case TaskState.PENDING:
      return message === "" ? "waits for a node" : message;
    case TaskState.ASSIGNED:
    case TaskState.ACCEPTED:
      return "its node prepares it";
    case TaskState.PREPARING:
      return pull === undefined ? message || "its node prepares it" : `pulling ${pullText(pull)}`;
    case TaskState.READY:
      return message === "ready to start" || message === "" ? "ready to start" : message;
    case TaskState.STARTING:
      return container?.startedAt !== undefined && isChecked(task) ? "started, not healthy yet" : "starting";
    case TaskState.RUNNING:
      return "running";
    case TaskState.COMPLETE:
      return "completed";
    case TaskState.SHUTDOWN:
      return "stopped";
    default:
      return message === "" ? "failed" : `failed: ${message}`;
  }
}

/** `12/40 MB`, in the registries' millions. */
export function pullText({
  doneBytes,
  totalBytes,
}: {
  readonly doneBytes: number;
  readonly totalBytes: number;
}): string {
  const [unit, size] = totalBytes >= 10_000_000_000 ? ["GB", 1e9] : totalBytes >= 1_000_000 ? ["MB", 1e6] : ["kB", 1e3];
  const amount = (bytes: number): string => String(Math.floor(bytes / size));
  return `${amount(doneBytes)}/${amount(totalBytes)} ${unit}`;
}

export interface Screen {
  readonly columns: number;
  readonly rows: number;
}

/** The whole in the first line, then as many rows as fit, those that are not done first. */
export function frameText({ text, rows, elapsedMs }: Frame, { columns, rows: height }: Screen): string {
  const clock = formatAge(elapsedMs);
  const room = Math.max(1, height - 3);
  const shown =
    rows.length <= room
      ? rows
      : rows.toSorted((a, b) => Number(a.done) - Number(b.done)).slice(0, Math.max(1, room - 1));
  const width = Math.max(0, ...shown.map(({ name }) => name.length));
  const lines = shown.map((row) => clipped(`  ${row.name.padEnd(width)}  ${printable(row.text)}`, columns));
  const left = rows.length - shown.length;
  const more = left === 0 ? [] : [`  … and ${left} more`];
  const head = clipped(printable(text), columns - clock.length - 2);
  return [`${head}  ${clock}`, ...lines, ...more].join("\n");
}

function clipped(text: string, columns: number): string {
  return text.length <= columns ? text : `${text.slice(0, Math.max(0, columns - 1))}…`;
}
