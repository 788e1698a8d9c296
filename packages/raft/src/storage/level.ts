/** LevelDB through classic-level, as a `KeyValue`. */
import { rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

import { ClassicLevel } from "classic-level";

import type { KeyValue } from "./disk.ts";
import { exists, syncDirectory } from "./files.ts";

/** Opens a store at `location`, made if it is not there, whose memtable holds so many bytes before it is written as a sorted table. */
export async function openLevel(location: string, writeBufferBytes: number): Promise<KeyValue> {
  if (!(await exists(location))) await make(location, writeBufferBytes);
  return open(location, writeBufferBytes);
}

/**
 * LevelDB does not sync the first manifest of a new store before it points to it: after a power failure then, nothing
 * can be opened. So the store is made aside, and takes its place once all of it is durable.
 */
async function make(location: string, writeBufferBytes: number): Promise<void> {
  const aside = `${location}.new`;
  await rm(aside, { recursive: true, force: true });
  const level = await open(aside, writeBufferBytes);
  await level.batch([{ type: "del", key: Buffer.from("new") }], { sync: true });
  await level.close();
  await syncDirectory(aside);
  await rename(aside, location);
  await syncDirectory(dirname(location));
}

async function open(location: string, writeBufferSize: number): Promise<KeyValue> {
  const level = new ClassicLevel<Uint8Array, Uint8Array>(location, {
    keyEncoding: "buffer",
    valueEncoding: "buffer",
    compression: false,
    writeBufferSize,
  });
  await level.open();
  return {
    get: (key) => level.getSync(key),
    async batch(ops, options) {
      // One by one: of an array, every property of every operation is looked up from native code, at twice the cost.
      const batch = level.batch();
      for (const op of ops) {
        if (op.type === "put") batch.put(op.key, op.value);
        else batch.del(op.key);
      }
      await batch.write(options);
    },
    clear: (gte, lt) => level.clear({ gte, lt }),
    iterate: (gte, lt) => level.iterator({ gte, lt }),
    close: () => level.close(),
  };
}
