/** Freezes an object and all that it holds. Dates can't be frozen; nobody changes one. */
export function frozen<T>(value: T): T {
  if (typeof value !== "object" || value === null || value instanceof Date || ArrayBuffer.isView(value)) return value;
  if (Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const inner of Object.values(value)) frozen(inner);
  return value;
}
