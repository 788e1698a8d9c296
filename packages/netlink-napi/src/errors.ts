import { constants } from "node:os";

const names: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.errno).map(([name, number]) => [number, name]),
);

/**
 * What the kernel refused. `code` is errno's name (`EEXIST`, `ENODEV`, `EPERM`, …), or `EINVAL` for an argument that
 * never reached it.
 */
export class NetlinkError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = "NetlinkError";
    this.code = code;
  }

  /** Whether `value` is a NetlinkError; with `codes`, one of these. */
  static is(value: unknown, ...codes: readonly string[]): value is NetlinkError {
    return value instanceof NetlinkError && (codes.length === 0 || codes.includes(value.code));
  }
}

/** The addon rejects with `ERRNO|text`; anything else is a fault of ours and passes as it is. */
export function toNetlinkError(doing: string, error: unknown): unknown {
  const parts = error instanceof Error ? /^(\d+)\|(.*)$/s.exec(error.message) : null;
  if (parts === null) return error;
  const code = names.get(Number(parts[1])) ?? "EINVAL";
  return new NetlinkError(code, `cannot ${doing}: ${parts[2]}`, { cause: error });
}
