import type { Disk, KeyValueOp } from "./disk.ts";
import { asBuffer } from "./record.ts";

/** A disk in memory, for tests and for members that may forget. It outlives the storage opened on it. */
export function memoryDisk(): Disk {
  const files = new Map<string, Uint8Array>();
  const pairs = new Map<string, Uint8Array>();
  const text = (key: Uint8Array): string => asBuffer(key).toString("hex");
  const put = (op: KeyValueOp): void => {
    if (op.type === "put") pairs.set(text(op.key), op.value);
    else pairs.delete(text(op.key));
  };
  const present = (name: string): Uint8Array => {
    const bytes = files.get(name);
    if (bytes === undefined) throw new Error(`no file ${name}`);
    return bytes;
  };
  return {
    openKeyValue: async () => ({
      get: (key) => pairs.get(text(key)),
      batch: async (ops) => ops.forEach(put),
      async *iterate(from, to) {
        const [first, end] = [text(from), text(to)];
        const keys = [...pairs.keys()].filter((key) => key >= first && key < end).sort();
        for (const key of keys) yield [Buffer.from(key, "hex"), pairs.get(key) as Uint8Array];
      },
      async clear(from, to) {
        const [first, end] = [text(from), text(to)];
        for (const key of pairs.keys()) if (key >= first && key < end) pairs.delete(key);
      },
      close: async () => undefined,
    }),
    list: async () => [...files.keys()],
    read: async (name) => files.get(name),
    overwrite: async (name, bytes) => void files.set(name, Uint8Array.from(bytes)),
    async create(name) {
      const chunks: Uint8Array[] = [];
      files.set(name, new Uint8Array(0));
      return {
        write: async (chunk) => void chunks.push(Uint8Array.from(chunk)),
        sync: async () => void files.set(name, Buffer.concat(chunks)),
        close: async () => void files.set(name, Buffer.concat(chunks)),
      };
    },
    async *stream(name, chunkBytes) {
      const bytes = present(name);
      for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
    },
    async rename(from, to) {
      files.set(to, present(from));
      files.delete(from);
    },
    remove: async (name) => void files.delete(name),
    syncDirectory: async () => undefined,
  };
}
