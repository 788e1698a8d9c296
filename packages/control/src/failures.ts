import { ApiError, invalid } from "@warren/api";
import { StoreError, type TableName } from "@warren/store";
import { limits } from "./limits.ts";

/** What people call an object of a table. */
const kinds: Readonly<Record<TableName, string>> = {
  clusters: "cluster",
  nodes: "node",
  removedNodes: "removed node",
  managers: "manager",
  services: "service",
  deletedServices: "deleted service",
  versions: "version",
  slots: "slot",
  tasks: "task",
  networks: "network",
  registries: "registry",
  events: "event",
};

/** How to see what there is. */
const lists: Readonly<Partial<Record<TableName, string>>> = {
  nodes: "warren node list",
  services: "warren service list",
  tasks: "warren task list",
  networks: "warren network list",
  registries: "warren registry list",
};

/** A failure of the store in the caller's terms; anything else as it is. */
export function fromStore(error: unknown): unknown {
  if (!StoreError.is(error)) return error;
  const { failure } = error;
  switch (failure.code) {
    case "STORE_NOT_FOUND":
      return notFound(failure.table, failure.ref);
    case "STORE_AMBIGUOUS": {
      const { table, ref, candidates } = failure;
      const kind = kinds[table];
      return new ApiError(
        { code: "API_AMBIGUOUS", kind, ref, candidates },
        `"${ref}" means more than one ${kind}: ${candidates.join(", ")}`,
        { cause: error, remedy: "give more of the id" },
      );
    }
    case "STORE_NAME_TAKEN":
      return nameTaken(failure.table, failure.name);
    case "STORE_CONFLICT":
      return new ApiError(
        { code: "API_ABORTED" },
        `the ${failure.table === undefined ? "state" : kinds[failure.table]} was changed meanwhile`,
        {
          cause: error,
          remedy: "read it again, then try again",
        },
      );
    case "STORE_TOO_LARGE":
      return new ApiError({ code: "API_EXHAUSTED" }, error.message, { cause: error });
    case "STORE_WATCH_LAGGED":
      return new ApiError({ code: "API_EXHAUSTED" }, "this reader was too slow for the changes, and was ended", {
        cause: error,
        remedy: "start over from what there is now",
      });
    case "STORE_NOT_LEADER":
    case "STORE_UNAVAILABLE":
    case "STORE_OUTCOME_UNKNOWN":
    case "STORE_LEVEL_REFUSED":
    case "STORE_LEVEL_HELD_BACK":
    case "STORE_DAMAGED":
      return error;
  }
}

export function notFound(table: TableName, ref: string): ApiError {
  const kind = kinds[table];
  const list = lists[table];
  const text = `there is no ${kind} "${ref}"`;
  return new ApiError(
    { code: "API_NOT_FOUND", kind, ref },
    text,
    list === undefined ? {} : { remedy: `see what there is with: ${list}` },
  );
}

export function nameTaken(table: TableName, name: string): ApiError {
  const kind = kinds[table];
  return new ApiError({ code: "API_ALREADY_EXISTS", kind, name }, `there is a ${kind} "${name}" already`, {
    remedy: "choose another name, or change the one that is there",
  });
}

export function tooMany(table: TableName, most: number): ApiError {
  const { [table]: kind } = kinds;
  return new ApiError(
    { code: "API_EXHAUSTED" },
    `there are ${most.toLocaleString("en")} objects of the kind ${kind} already, the most that a cluster may have`,
    { remedy: "delete some first" },
  );
}

export function noCluster(): ApiError {
  return new ApiError({ code: "API_UNAVAILABLE" }, "this manager has no cluster yet", {
    remedy: "make one with: warren cluster init",
  });
}

export function stale(kind: string, name: string, version: number, given: number): ApiError {
  return new ApiError(
    { code: "API_ABORTED" },
    `${kind} "${name}" was changed meanwhile: it is at version ${version}, and you read version ${given}`,
    { remedy: "read it again, make your change to that, and try again" },
  );
}

export function field(name: string, description: string): ApiError {
  return invalid([{ field: name, description }]);
}

/** Each filter is held against each object, so their number is bounded. @throws ApiError `API_INVALID` */
export function mustBeFew(name: string, count: number): void {
  if (count > limits.filters) throw field(name, `holds ${count}; at most ${limits.filters} are allowed`);
}
