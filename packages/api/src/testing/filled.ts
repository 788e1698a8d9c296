import { create, ScalarType, toBinary, type DescField, type DescMessage } from "@bufbuild/protobuf";
import { reflect, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import { descriptors } from "../descriptors.ts";
import type { MessageType } from "../rpc.ts";

/** Depth at which messages that contain their own kind end. */
const deepest = 8;

/**
 * Messages with every field, at any depth, set to a value other than its default: one message for each case of the widest
 * oneof. The same at each call.
 */
export function filledMessages<T>(type: MessageType<T>): T[] {
  const schema = descriptors().getMessage(type.$type);
  if (schema === undefined) throw new TypeError(`${type.$type} is not a message of the API`);
  return Array.from({ length: widest(schema) }, (_, at) => type.decode(toBinary(schema, fill(schema, at, 0).message)));
}

function widest(schema: DescMessage, seen: Set<string> = new Set()): number {
  if (seen.has(schema.typeName)) return 1;
  seen.add(schema.typeName);
  const inner = schema.fields.map(({ message }) => (message === undefined ? 1 : widest(message, seen)));
  return Math.max(1, ...schema.oneofs.map(({ fields }) => fields.length), ...inner);
}

/** @param at which case of each oneof is set */
function fill(schema: DescMessage, at: number, depth: number): ReflectMessage {
  const filled = reflect(schema, create(schema));
  if (schema.typeName === "google.protobuf.Timestamp") {
    filled.set(schema.field["seconds"] as DescField, 1_767_225_600n);
    filled.set(schema.field["nanos"] as DescField, 123_000_000);
    return filled;
  }
  for (const field of schema.fields) {
    const { oneof } = field;
    if (oneof !== undefined && oneof.fields[at % oneof.fields.length] !== field) continue;
    if (field.message !== undefined && depth === deepest) continue;
    switch (field.fieldKind) {
      case "list": {
        const value = field.listKind === "message" ? fill(field.message, at, depth + 1) : single(field);
        filled.get(field).add(value);
        break;
      }
      case "map": {
        const value = field.mapKind === "message" ? fill(field.message, at, depth + 1) : single(field);
        filled.get(field).set(mapKey(field.mapKey, field.name), value);
        break;
      }
      case "message":
        filled.set(field, fill(field.message, at, depth + 1));
        break;
      default:
        filled.set(field, single(field));
    }
  }
  return filled;
}

function mapKey(type: ScalarType, name: string): unknown {
  return type === ScalarType.STRING ? `key of ${name}` : 1;
}

/** A value by the field's name or number. */
function single({ scalar, enum: values, name, number }: DescField): unknown {
  if (values !== undefined) return values.values.at(-1)?.number;
  switch (scalar) {
    case ScalarType.STRING:
      return name;
    case ScalarType.BYTES:
      return Uint8Array.from(Buffer.from(name));
    case ScalarType.BOOL:
      return true;
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return number + 0.5;
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return BigInt(1_000 + number);
    default:
      return 1_000 + number;
  }
}
