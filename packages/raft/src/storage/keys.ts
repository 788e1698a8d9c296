/** Keys of what a member's storage keeps in its key-value store. */
export const identityKey: Buffer = Buffer.from("i");
export const stateKey: Buffer = Buffer.from("s");
/** The small file that names the last durable entry. */
export const markerName = "tail";

export function entryKey(index: number): Buffer {
  const key = Buffer.allocUnsafe(9);
  key[0] = 0x65;
  key.writeUInt32BE(Math.floor(index / 2 ** 32), 1);
  key.writeUInt32BE(index % 2 ** 32, 5);
  return key;
}

const peerPrefix = "p";
/** From the first peer's key to behind the last one's. */
export const peerKeys: readonly [from: Buffer, to: Buffer] = [Buffer.from(peerPrefix), Buffer.from("q")];

/** Of the incarnation that a peer was met with. */
export function peerKey(id: number): Buffer {
  return Buffer.from(`${peerPrefix}${id}`);
}

export function peerOf(key: Uint8Array): number {
  return Number(Buffer.from(key).toString("latin1", 1));
}
