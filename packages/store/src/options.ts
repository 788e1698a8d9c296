export interface StoreOptions {
  /** Runs of one transaction before a conflict rejects it. @default 8 */
  readonly maxAttempts?: number;
  /** Bytes of one command; a single transaction with more is refused. @default 8 MiB */
  readonly maxCommandBytes?: number;
  /** Transactions in one command. @default 1000 */
  readonly maxUpdatesPerCommand?: number;
  /** Written objects past which no further transaction joins a command. @default 2000 */
  readonly maxWritesPerCommand?: number;
}

/** Checks options and fills in defaults. @throws RangeError */
export function resolveOptions(options: StoreOptions): Required<StoreOptions> {
  const resolved = {
    maxAttempts: 8,
    maxCommandBytes: 8 * 1024 * 1024,
    maxUpdatesPerCommand: 1_000,
    maxWritesPerCommand: 2_000,
    ...options,
  };
  for (const [option, value] of Object.entries(resolved)) {
    if (!Number.isSafeInteger(value) || value < 1)
      throw new RangeError(`store option ${option} is ${value}; it must be a whole number from 1`);
  }
  return Object.freeze(resolved);
}
