import {
  Event,
  EventsDefinition,
  ObjectKind,
  type Change,
  type Node,
  type Network,
  type Service,
  type Slot,
  type Task,
  type WatchRequest,
  type WatchResponse,
} from "@warren/api";
import { epochText } from "@warren/api/model";
import { bind, type BoundService } from "@warren/api/server";
import type { StoreChange, View } from "@warren/store";
import { Access, idOf, resolve } from "./access.ts";
import { field, fromStore } from "./failures.ts";
import { limits } from "./limits.ts";
import { pageOf } from "./pages.ts";
import { presentService } from "./summary.ts";
import { presentTask } from "./task-reading.ts";

const watched = {
  [ObjectKind.SERVICE]: "services",
  [ObjectKind.TASK]: "tasks",
  [ObjectKind.NODE]: "nodes",
  [ObjectKind.NETWORK]: "networks",
} as const;
type WatchedTable = (typeof watched)[keyof typeof watched];

export function events(access: Access): BoundService {
  return bind(EventsDefinition, {
    list({ page, since, ref }) {
      const known = access.view().list("events");
      const { items, nextPageToken } = pageOf(page, {
        of: "events",
        objects: known.filter(isAbout(known, ref, since)),
        keyOf: idOf,
        bytesOf: (event) => Event.encode(event).finish().length,
      });
      return { events: [...items], nextPageToken };
    },

    async *follow({ since, ref }, { signal }) {
      const { view, changes } = access.store().watch({ tables: ["events"], limit: limits.watchBatches, signal });
      const known = view.list("events");
      const wanted = isAbout(known, ref, since);
      if (since !== undefined) yield* known.filter(wanted);
      try {
        for await (const batch of changes) {
          for (const change of batch.changes) {
            if (change.table === "events" && change.kind === "create" && wanted(change.object)) yield change.object;
          }
        }
      } catch (error) {
        throw fromStore(error);
      }
    },

    async *watch(request, { signal }) {
      const tables = tablesOf(request);
      const store = access.store();
      // What is wanted of a task stands in its slot.
      const watchedTables = tables.includes("tasks") ? ([...tables, "slots"] as const) : tables;
      const { view, changes } = store.watch({ tables: watchedTables, limit: limits.watchBatches, signal });
      const only = request.service === "" ? undefined : watchedService(view, request.service);
      const wanted = (table: WatchedTable, object: Service | Task | Node | Network): boolean =>
        only === undefined ||
        (table === "services" && idOf(object) === only) ||
        (table === "tasks" && (object as Task).serviceId === only);
      for (const table of tables) {
        for (const object of view.list(table)) {
          if (wanted(table, object)) yield told({ table, kind: "create", object } as WatchedChange, view.version, view);
        }
      }
      yield { message: { $case: "synced", value: view.version } };
      try {
        for await (const batch of changes) {
          const now = store.view();
          for (const change of batch.changes.flatMap((each) => withTasks(each, now))) {
            if (isWatched(change) && wanted(change.table, change.object)) yield told(change, batch.version, now);
          }
        }
      } catch (error) {
        throw fromStore(error);
      }
    },
  });
}

/**
 * Of an object by its name or id, or else by the beginning of its id. It may be gone by now, so it is looked for among
 * what is `known` of the past.
 */
function isAbout(known: readonly Event[], ref: string, since: Date | undefined): (event: Event) => boolean {
  const from = since?.getTime() ?? Number.NEGATIVE_INFINITY;
  const is = ({ objectId, objectName }: Event): boolean => objectName === ref || objectId === ref;
  const about =
    ref === "" ? () => true : known.some(is) ? is : (event: Event) => is(event) || event.objectId.startsWith(ref);
  return (event) => (event.at?.getTime() ?? 0) >= from && about(event);
}

/** One that was deleted is still known by its id while a slot of it is there. */
function watchedService(view: View, ref: string): string {
  if (view.find("slots", "service", ref).length > 0) return ref;
  return idOf(resolve(view, "services", ref, "service"));
}

/** A change of a slot as changes of its tasks; one of a service's version with them, after it; any other as it is. */
function withTasks(change: StoreChange, view: View): readonly StoreChange[] {
  if (change.table === "services" && change.kind === "update" && change.before?.versionId !== change.object.versionId)
    return [change, ...view.find("tasks", "service", idOf(change.object)).map(unchanged)];
  if (change.table !== "slots") return [change];
  if (change.kind === "delete") return [];
  const states = (slot: Slot | undefined): string =>
    (slot?.leases ?? []).map(({ epoch, state }) => `${epochText(epoch)}/${state}`).join();
  if (states(change.object) === states(change.kind === "create" ? undefined : change.before)) return [];
  return view.find("tasks", "slot", idOf(change.object)).map(unchanged);
}

/** A task whose row is as it was, while what is told of it may be different. */
function unchanged(object: Task): StoreChange {
  return { table: "tasks", kind: "update", object, before: object };
}

type WatchedChange = Extract<StoreChange, { readonly table: WatchedTable }>;

function isWatched(change: StoreChange): change is WatchedChange {
  return Object.values<string>(watched).includes(change.table);
}

function tablesOf({ kinds, service }: WatchRequest): readonly WatchedTable[] {
  const tables = kinds.map((kind, index) => {
    const table = kind in watched ? watched[kind as keyof typeof watched] : undefined;
    if (table === undefined) throw field(`kinds[${index}]`, "want SERVICE, TASK, NODE or NETWORK");
    return table;
  });
  const wanted = tables.length === 0 ? Object.values(watched) : [...new Set(tables)];
  return service === "" ? wanted : wanted.filter((table) => table === "services" || table === "tasks");
}

function told(change: WatchedChange, version: number, view: View): WatchResponse {
  const value: Change = { version, deleted: change.kind === "delete", object: objectOf(change, view) };
  return { message: { $case: "change", value } };
}

function objectOf({ table, object }: WatchedChange, view: View): Change["object"] {
  switch (table) {
    case "services":
      return { $case: "service", value: presentService(view, object) };
    case "tasks":
      return { $case: "task", value: presentTask(view, object) };
    case "nodes":
      return { $case: "node", value: object };
    case "networks":
      return { $case: "network", value: object };
  }
}
