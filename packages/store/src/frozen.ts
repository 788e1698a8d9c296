/** Freezes an object deeply. Dates can't be frozen, and must not be changed. */
export function frozen<T>(value: T): T {
  if (typeof value === "object" && value !== null) freeze(value);
  return value;
}

function freeze(value: object): void {
  if (value instanceof Date || ArrayBuffer.isView(value) || Object.isFrozen(value)) return;
  Object.freeze(value);
  for (const key in value) {
    const inner = (value as Record<string, unknown>)[key];
    if (typeof inner === "object" && inner !== null) freeze(inner);
  }
}
