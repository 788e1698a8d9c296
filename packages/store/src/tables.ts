/**
 * What is stored: a table for each kind of object, its message, and its indexes.
 *
 * To add a table: here, in `StoreObject` of `proto/warren/v1/store.proto`, and a new `storeFormat`, since a manager
 * that does not know it must not drop it.
 */
import {
  Cluster,
  Event,
  Manager,
  Network,
  Node,
  RegistryCredential,
  Service,
  Slot,
  Task,
  Version,
  type Meta,
  type StoreObject,
} from "@warren/api";
import { isUnreleased } from "@warren/api/model";

export interface Tables {
  clusters: Cluster;
  nodes: Node;
  managers: Manager;
  services: Service;
  versions: Version;
  slots: Slot;
  tasks: Task;
  networks: Network;
  registries: RegistryCredential;
  events: Event;
}
export type TableName = keyof Tables;

/** The indexes of each table. */
export interface Indexes {
  clusters: never;
  /** `name`: the hostname, which several nodes may share. */
  nodes: "name";
  managers: never;
  /** `name` is unique. */
  services: "name";
  /** `network`: ids of the networks that its tasks join. */
  versions: "service" | "network";
  /** `node`: where an unreleased lease of it is. */
  slots: "service" | "node";
  /** `slot`: the id. */
  tasks: "service" | "node" | "slot";
  /** `name` is unique. */
  networks: "name";
  /** `name` is the registry's, unique. */
  registries: "name";
  /** `object`: the id of the object that the event is about. */
  events: "object";
}
export type IndexName<T extends TableName> = Indexes[T];

/** Any stored object, where its table does not matter. */
export type StoredObject = Tables[TableName];

export interface TableDefinition {
  readonly name: TableName;
  /** Its member of `StoreObject`. */
  readonly kind: NonNullable<StoreObject["object"]>["$case"];
  /** A copy with every field set that the message has. */
  readonly normalise: (object: StoredObject) => StoredObject;
  readonly indexes: ReadonlyMap<string, (object: StoredObject) => readonly string[]>;
  readonly uniqueNames: boolean;
}

interface Codec<V> {
  fromPartial(object: V): V;
}

function define<T extends TableName>(
  name: T,
  kind: TableDefinition["kind"],
  codec: Codec<Tables[T]>,
  indexes: { readonly [I in IndexName<T>]: (object: Tables[T]) => readonly string[] },
  uniqueNames = false,
): TableDefinition {
  return {
    name,
    kind,
    normalise: (object) => codec.fromPartial(object as Tables[T]),
    indexes: new Map(Object.entries(indexes)) as TableDefinition["indexes"],
    uniqueNames,
  };
}

export const definitions: { readonly [T in TableName]: TableDefinition } = {
  clusters: define("clusters", "cluster", Cluster, {}),
  nodes: define("nodes", "node", Node, { name: ({ description }) => present(description?.hostname) }),
  services: define(
    "services",
    "service",
    Service,
    {
      name: ({ spec }) => present(spec?.name),
    },
    true,
  ),
  managers: define("managers", "manager", Manager, {}),
  versions: define("versions", "version", Version, {
    service: ({ serviceId }) => present(serviceId),
    network: ({ networks }) => distinct(networks),
  }),
  slots: define("slots", "slot", Slot, {
    service: ({ serviceId }) => present(serviceId),
    node: ({ leases }) => distinct(leases.filter(isUnreleased).map(({ nodeId }) => nodeId)),
  }),
  tasks: define("tasks", "task", Task, {
    service: ({ serviceId }) => present(serviceId),
    node: ({ nodeId }) => present(nodeId),
    slot: ({ slotId }) => present(slotId),
  }),
  networks: define("networks", "network", Network, { name: ({ spec }) => present(spec?.name) }, true),
  registries: define("registries", "registry", RegistryCredential, { name: ({ registry }) => present(registry) }, true),
  events: define("events", "event", Event, { object: ({ objectId }) => present(objectId) }),
};

export const tableNames: readonly TableName[] = Object.keys(definitions) as TableName[];

const byKind: ReadonlyMap<string, TableDefinition> = new Map(
  Object.values(definitions).map((definition) => [definition.kind, definition]),
);

/** The table that a member of `StoreObject` belongs to; undefined if this Warren has none. */
export function tableOfKind(kind: string | undefined): TableDefinition | undefined {
  return kind === undefined ? undefined : byKind.get(kind);
}

/** The object's id; empty before it has one. */
export function idOf(object: { readonly meta?: Meta | undefined }): string {
  return object.meta?.id ?? "";
}

/** The name that people know it by; its id where it has none. */
export function nameOf(definition: TableDefinition, object: StoredObject): string {
  return definition.indexes.get("name")?.(object)[0] ?? idOf(object);
}

function present(value: string | undefined): readonly string[] {
  return value === undefined || value === "" ? [] : [value];
}

function distinct(values: readonly string[]): readonly string[] {
  return values.length < 2 ? values : [...new Set(values)];
}
