/**
 * Messages as canonical proto3 JSON, by reflection over the generated descriptors: the form of `-o json`, of grpcurl and
 * of every other implementation of protobuf.
 *
 * A subpath of its own, since most that import the types need no JSON.
 */
import { fromBinary, fromJson as read, toBinary, toJson as write, type JsonValue } from "@bufbuild/protobuf";
import { descriptors } from "../descriptors.ts";
import { invalid } from "../errors.ts";
import type { MessageType } from "../rpc.ts";

export type { JsonValue };

/** `toJson(Service, service)`. int64 are strings, times RFC 3339, bytes base64; defaults are left out. */
export function toJson<T>(type: MessageType<T>, message: T): JsonValue {
  const schema = schemaOf(type);
  return write(schema, fromBinary(schema, type.encode(message).finish()), { registry: descriptors() });
}

/**
 * Accepts names as in JSON (`readOnlyRoot`) and as in the proto file (`read_only_root`). An unknown field is an error.
 *
 * @throws ApiError `API_INVALID`
 */
export function fromJson<T>(type: MessageType<T>, json: JsonValue): T {
  const schema = schemaOf(type);
  try {
    return type.decode(toBinary(schema, read(schema, json, { registry: descriptors() })));
  } catch (error) {
    throw invalid([{ field: "", description: `not a ${type.$type} in JSON: ${(error as Error).message}` }]);
  }
}

function schemaOf(type: {
  readonly $type: string;
}): NonNullable<ReturnType<ReturnType<typeof descriptors>["getMessage"]>> {
  const schema = descriptors().getMessage(type.$type);
  if (schema === undefined) throw new TypeError(`${type.$type} is not a message of the API`);
  return schema;
}
