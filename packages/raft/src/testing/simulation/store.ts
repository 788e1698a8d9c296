/** A machine's LevelDB: batches are readable at once, durable with a later sync, and recovered whole and in their order. */
import type { Random } from "@warren/std";

import type { KeyValueOp } from "../../storage/index.ts";

export class SimulatedStore {
  /** What is durable; damage does not touch it. */
  readonly durable: ReadonlyMap<string, Uint8Array>;
  /** What is read. */
  pairs: Map<string, Uint8Array> = new Map();
  private readonly truth = new Map<string, Uint8Array>();
  private unsynced: (readonly KeyValueOp[])[] = [];

  constructor() {
    this.durable = this.truth;
  }

  range(from: string, to: string): [Uint8Array, Uint8Array][] {
    const keys = [...this.pairs.keys()].filter((key) => key >= from && key < to).sort();
    return keys.map((key) => [Buffer.from(key, "latin1"), this.pairs.get(key) as Uint8Array]);
  }

  write(ops: readonly KeyValueOp[]): void {
    apply(this.pairs, ops);
    this.unsynced.push(ops);
  }

  sync(): void {
    for (const ops of this.unsynced) apply(this.truth, ops);
    this.unsynced = [];
  }

  powerOff(random: Random): void {
    const kept = random.int(this.unsynced.length + 1);
    for (const ops of this.unsynced.slice(0, kept)) apply(this.truth, ops);
    this.unsynced = [];
    this.pairs = new Map(this.truth);
  }
}

function apply(to: Map<string, Uint8Array>, ops: readonly KeyValueOp[]): void {
  for (const op of ops) {
    if (op.type === "put") to.set(textOf(op.key), op.value);
    else to.delete(textOf(op.key));
  }
}

/** A key as the text of its bytes. */
export function textOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString("latin1");
}
