import {
  Event,
  EventsDefinition,
  ObjectKind,
  type Change,
  type Node,
  type Network,
  type Service,
  type Task,
  type WatchRequest,
  type WatchResponse,
} from "@warren/api";
import { bind, type BoundService } from "@warren/api/server";
import type { StoreChange, View } from "@warren/store";
import { Access, idOf, resolve } from "./access.ts";
import { field, fromStore } from "./failures.ts";
import { limits } from "./limits.ts";
import { pageOf } from "./pages.ts";
import { redactTask } from "./redaction.ts";
import { presentService } from "./summary.ts";

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
      const { items, nextPageToken } = pageOf(page, {
        of: "events",
        objects: access.view().list("events").filter(isAbout(ref, since)),
        keyOf: idOf,
        bytesOf: (event) => Event.encode(event).finish().length,
      });
      return { events: [...items], nextPageToken };
    },

    async *follow({ since, ref }, { signal }) {
      const { view, changes } = access.store().watch({ tables: ["events"], limit: limits.watchBatches, signal });
      if (since !== undefined) yield* view.list("events").filter(isAbout(ref, since));
      const wanted = isAbout(ref, since);
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
      const { view, changes } = store.watch({ tables, limit: limits.watchBatches, signal });
      const only = request.service === "" ? undefined : idOf(resolve(view, "services", request.service, "service"));
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
          for (const change of batch.changes) {
            if (isWatched(change) && wanted(change.table, change.object))
              yield told(change, batch.version, store.view());
          }
        }
      } catch (error) {
        throw fromStore(error);
      }
    },
  });
}

/** Of an object by its name, id, or the beginning of its id; it may be gone by now, so it is not looked up. */
function isAbout(ref: string, since: Date | undefined): (event: Event) => boolean {
  const from = since?.getTime() ?? Number.NEGATIVE_INFINITY;
  return ({ at, objectId, objectName }) =>
    (at?.getTime() ?? 0) >= from && (ref === "" || objectName === ref || objectId.startsWith(ref));
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
      return { $case: "task", value: redactTask(object) };
    case "nodes":
      return { $case: "node", value: object };
    case "networks":
      return { $case: "network", value: object };
  }
}
