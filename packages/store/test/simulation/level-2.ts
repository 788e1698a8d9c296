/** A level 2 for tests: a table `volumes` (field 200 of StoreObject), and an `owner` (field 100) of a network's spec. */
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Network } from "@warren/api";

import { Schema, schema as level1 } from "../../src/schema.ts";
import { definitions, type StoredObject, type TableDefinition, type TableName } from "../../src/tables.ts";

/** A table that the generated code does not have. */
export const volumes = "volumes" as TableName;

const ownerTag = (100 << 3) | WireType.LengthDelimited;

/** A network with an owner, as code generated for level 2 would write it. */
export function withOwner(network: Network, owner: string): Network {
  const spec = { labels: {}, name: "", ...network.spec };
  const bytes = new BinaryWriter().string(owner).finish();
  return { ...network, spec: { ...spec, _unknownFields: { ...spec._unknownFields, [ownerTag]: [bytes] } } };
}

export function ownerOf(network: Network | undefined): string {
  const bytes = network?.spec?._unknownFields?.[ownerTag]?.[0];
  return bytes === undefined ? "" : new BinaryReader(bytes).string();
}

function tablesAt(level: number): readonly TableDefinition[] {
  const networks: TableDefinition = {
    ...definitions.networks,
    needs: (object) => (ownerOf(object as Network) === "" ? 1 : level),
  };
  const volumesTable: TableDefinition = {
    name: volumes,
    field: 200,
    codec: Network,
    indexes: new Map([["name", (object: StoredObject) => [(object as Network).spec?.name ?? ""]]]),
    uniqueNames: true,
    needs: () => level,
  };
  return [...Object.values({ ...definitions, networks }), volumesTable];
}

/** A program of level 2, which also reads level 1. */
export const level2: Schema = new Schema({ level: 2, minLevel: 1, tables: tablesAt(2) });

/** A later program of level 1: until the first release a level may grow. */
export const grownLevel1: Schema = new Schema({ level: 1, minLevel: 1, tables: tablesAt(1) });

/** A program that does not read level 1 any more. */
export const only2: Schema = new Schema({ level: 2, minLevel: 2, tables: tablesAt(2) });

export { level1 };
