/**
 * The formats that a program reads and writes: its levels and its tables.
 *
 * An object of a table that a program does not know is kept as bytes, except its `meta`, which every stored message has
 * in field 1. So it is applied, stored, and passed on in snapshots as by a program that knows the table.
 */
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Meta, type StoreObject } from "@warren/api";
import { level, minLevel } from "@warren/api/model";

import { damaged } from "./errors.ts";
import { definitions, type StoredObject, type TableDefinition, type TableName } from "./tables.ts";

/** The wire type of a message within a message. */
const lengthDelimited: number = WireType.LengthDelimited;

export interface SchemaParts {
  /** The highest level that the program writes. */
  readonly level: number;
  /** The lowest level that it reads. */
  readonly minLevel: number;
  readonly tables: readonly TableDefinition[];
}

export class Schema {
  readonly level: number;
  readonly minLevel: number;
  /** The tables that it knows. */
  readonly tables: readonly TableDefinition[];
  readonly #byName: ReadonlyMap<string, TableDefinition>;
  readonly #byKind: ReadonlyMap<string, TableDefinition>;
  readonly #byField: Map<number, TableDefinition>;

  constructor({ level, minLevel, tables }: SchemaParts) {
    this.level = level;
    this.minLevel = minLevel;
    this.tables = tables;
    this.#byName = new Map(tables.map((table) => [table.name, table]));
    this.#byKind = new Map(tables.flatMap((table) => (table.kind === undefined ? [] : [[table.kind, table]])));
    this.#byField = new Map(tables.map((table) => [table.field, table]));
  }

  table(name: TableName): TableDefinition {
    return this.#byName.get(name) as TableDefinition;
  }

  /** The object, and its table. @throws StoreError `STORE_DAMAGED` */
  read({ object, _unknownFields }: StoreObject): {
    readonly table: TableDefinition;
    readonly object: StoredObject;
  } {
    if (object !== undefined) {
      const table = this.#byKind.get(object.$case);
      if (table === undefined || _unknownFields !== undefined) throw damaged("an object belongs to several tables");
      return { table, object: object.value };
    }
    const unknown = Object.entries(_unknownFields ?? {});
    const [tag, values] = unknown[0] ?? ["0", []];
    const [value] = values;
    if (value === undefined || unknown.length > 1 || values.length > 1 || (Number(tag) & 7) !== lengthDelimited)
      throw damaged("an object belongs to no table");
    const table = this.#ofField(Number(tag) >>> 3);
    return { table, object: table.codec.decode(new BinaryReader(value).bytes()) };
  }

  #ofField(field: number): TableDefinition {
    const known = this.#byField.get(field);
    if (known !== undefined) return known;
    const opaque = opaqueTable(field);
    this.#byField.set(field, opaque);
    return opaque;
  }
}

/** This program's schema. */
export const schema: Schema = new Schema({ level, minLevel, tables: Object.values(definitions) });

export function storeObject({ kind, field, codec }: TableDefinition, value: StoredObject): StoreObject {
  if (kind !== undefined) return { object: { $case: kind, value } as NonNullable<StoreObject["object"]> };
  const tag = (field << 3) | WireType.LengthDelimited;
  const bytes = new BinaryWriter().bytes(codec.encode(value).finish()).finish();
  return { object: undefined, _unknownFields: { [tag]: [bytes] } };
}

/** An object of a table that this program does not know. */
interface OpaqueObject {
  readonly meta: Meta | undefined;
  /** The bytes of its fields except `meta`. */
  readonly rest: Uint8Array;
}

const metaTag = (1 << 3) | WireType.LengthDelimited;

function opaqueTable(field: number): TableDefinition {
  return {
    // No transaction of this program uses it.
    name: `field ${field}` as TableName,
    field,
    codec: {
      encode: (object) => {
        const { meta, rest } = object as unknown as OpaqueObject;
        const writer = new BinaryWriter();
        if (meta !== undefined) writer.uint32(metaTag).bytes(Meta.encode(meta).finish());
        return writer.raw(rest);
      },
      decode: (bytes) => decodeOpaque(bytes) as unknown as StoredObject,
      fromPartial: (object) => ({ ...object }),
    },
    indexes: new Map(),
    uniqueNames: false,
    needs: () => 1,
    opaque: true,
  };
}

function decodeOpaque(bytes: Uint8Array): OpaqueObject {
  const reader = new BinaryReader(bytes);
  let meta: Meta | undefined;
  const rest: Uint8Array[] = [];
  while (reader.pos < reader.len) {
    const from = reader.pos;
    const [number, wireType] = reader.tag();
    if (number === 1 && wireType === WireType.LengthDelimited) {
      meta = Meta.decode(reader.bytes());
      continue;
    }
    reader.skip(wireType, number);
    rest.push(bytes.subarray(from, reader.pos));
  }
  return { meta, rest: new Uint8Array(Buffer.concat(rest)) };
}
