/**
 * The schema of the state: a table for each kind of object, with its message and its indexes.
 *
 * To add a table: here, and in `StoreObject` of `proto/warren/v1/store.proto`, with the level that it needs. To add a
 * field to a message: in its proto, and in `needs` of its table if a program that ignores the field would act wrongly.
 */
import type { BinaryWriter } from "@bufbuild/protobuf/wire";
import {
  Cluster,
  DeletedService,
  Event,
  Manager,
  Network,
  Node,
  RegistryCredential,
  RemovedNode,
  Service,
  Slot,
  Task,
  Version,
  type Meta,
  type StoreObject,
} from "@warren/api";
import { isUnreleased, sameEpoch } from "@warren/api/model";

export interface Tables {
  clusters: Cluster;
  nodes: Node;
  removedNodes: RemovedNode;
  managers: Manager;
  services: Service;
  deletedServices: DeletedService;
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
  removedNodes: never;
  managers: never;
  /** `name` is unique. */
  services: "name";
  deletedServices: never;
  /** `network`: ids of the networks that its tasks join. */
  versions: "service" | "network";
  /** `node`: the nodes of its unreleased leases. */
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

/** A member of `StoreObject`. */
type ObjectKind = NonNullable<StoreObject["object"]>["$case"];

export interface TableDefinition {
  readonly name: TableName;
  /** Its member of `StoreObject`; absent for tables that this program does not know. */
  readonly kind?: ObjectKind;
  /** That member's field number. */
  readonly field: number;
  readonly codec: Codec<StoredObject>;
  /** The indexes of `find`, by name. */
  readonly indexes: ReadonlyMap<string, (object: StoredObject) => readonly string[]>;
  readonly uniqueNames: boolean;
  /** The level that an object of the table needs to be written. */
  readonly needs: (object: StoredObject) => number;
  /**
   * A stored object that is likely to be equal in part to a new one, so that both can share the equal parts.
   *
   * @param find a row of another table
   */
  readonly like?: (object: StoredObject, find: FindRow) => unknown;
  /** The program does not know the table: its objects are kept as bytes. */
  readonly opaque?: true;
}

type FindRow = <T extends TableName>(table: T, id: string) => Tables[T] | undefined;

interface Codec<V> {
  /** @param writer takes the message behind what it has @default a new one */
  encode(object: V, writer?: BinaryWriter): BinaryWriter;
  decode(bytes: Uint8Array): V;
  /** A copy with a value for each field of the message, unknown fields included. */
  fromPartial(object: V): V;
}

function define<T extends TableName>(
  name: T,
  [field, kind]: readonly [number, ObjectKind],
  codec: Codec<Tables[T]>,
  indexes: { readonly [I in IndexName<T>]: (object: Tables[T]) => readonly string[] },
  { uniqueNames = false, like }: { uniqueNames?: boolean; like?: (object: Tables[T], find: FindRow) => unknown } = {},
): TableDefinition {
  return {
    name,
    field,
    kind,
    codec: codec,
    indexes: new Map(Object.entries(indexes)) as TableDefinition["indexes"],
    uniqueNames,
    needs: () => 1,
    ...(like === undefined ? {} : { like: like as NonNullable<TableDefinition["like"]> }),
  };
}

export const definitions: { readonly [T in TableName]: TableDefinition } = {
  clusters: define("clusters", [1, "cluster"], Cluster, {}),
  nodes: define("nodes", [2, "node"], Node, { name: ({ description }) => present(description?.hostname) }),
  removedNodes: define("removedNodes", [11, "removedNode"], RemovedNode, {}),
  services: define(
    "services",
    [3, "service"],
    Service,
    {
      name: ({ spec }) => present(spec?.name),
    },
    { uniqueNames: true, like: ({ versionId }, find) => ({ spec: { task: find("versions", versionId)?.task } }) },
  ),
  deletedServices: define("deletedServices", [12, "deletedService"], DeletedService, {}),
  managers: define("managers", [10, "manager"], Manager, {}),
  versions: define(
    "versions",
    [9, "version"],
    Version,
    {
      service: ({ serviceId }) => present(serviceId),
      network: ({ networks }) => distinct(networks),
    },
    {
      like({ serviceId }, find) {
        const service = find("services", serviceId);
        return { serviceId: service?.meta?.id, task: service?.spec?.task };
      },
    },
  ),
  slots: define("slots", [8, "slot"], Slot, {
    service: ({ serviceId }) => present(serviceId),
    // Leases that wait for a node are not in it: thousands of them would share one entry, and each change copies an entry.
    node: ({ leases }) =>
      distinct(leases.filter((lease) => lease.nodeId !== "" && isUnreleased(lease)).map(({ nodeId }) => nodeId)),
  }),
  tasks: define(
    "tasks",
    [4, "task"],
    Task,
    {
      service: ({ serviceId }) => present(serviceId),
      node: ({ nodeId }) => present(nodeId),
      slot: ({ slotId }) => present(slotId),
    },
    {
      // A task repeats values of its slot and its lease.
      like({ meta, slotId, epoch }, find) {
        const slot = find("slots", slotId);
        if (slot === undefined) return undefined;
        const { serviceId, serviceName, key } = slot;
        const lease = slot.leases.find((each) => sameEpoch(each.epoch, epoch));
        return {
          serviceId,
          serviceName,
          slotId: slot.meta?.id,
          slot: key,
          epoch: lease?.epoch,
          nodeId: lease?.nodeId,
          versionId: lease?.versionId,
          status: { container: { address: lease?.address, containerId: meta?.id } },
        };
      },
    },
  ),
  networks: define(
    "networks",
    [5, "network"],
    Network,
    { name: ({ spec }) => present(spec?.name) },
    { uniqueNames: true },
  ),
  registries: define(
    "registries",
    [6, "registry"],
    RegistryCredential,
    { name: ({ registry }) => present(registry) },
    { uniqueNames: true },
  ),
  events: define("events", [7, "event"], Event, { object: ({ objectId }) => present(objectId) }),
};

export const tableNames: readonly TableName[] = Object.keys(definitions) as TableName[];

/** The object's id; empty before it has one. */
export function idOf(object: { readonly meta?: Meta | undefined }): string {
  return object.meta?.id ?? "";
}

/** The object's name for people; its id where it has none. */
export function nameOf(definition: TableDefinition, object: StoredObject): string {
  return definition.indexes.get("name")?.(object)[0] ?? idOf(object);
}

function present(value: string | undefined): readonly string[] {
  return value === undefined || value === "" ? [] : [value];
}

function distinct(values: readonly string[]): readonly string[] {
  return values.length < 2 ? values : [...new Set(values)];
}
