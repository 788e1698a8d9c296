import type { MessageType } from "@warren/api";

/** A message in proto3 JSON. What makes it is loaded for those alone who ask for it. */
export async function toJson<T>(type: MessageType<T>, message: T): Promise<unknown> {
  const json = await import("@warren/api/json");
  return json.toJson(type, message);
}
