/**
 * What a member did to its disk, write by write, and what a power failure at any moment leaves of it.
 *
 * The journal is written by `disk-journal.c`, loaded before the member's program. The disk that is played back keeps of
 * a file what was written before its last sync began, and of names (creations, renames, removals) what came before the
 * last sync of anything: so do ext4, XFS and btrfs, whose journals are in order, and LevelDB relies on it for new logs.
 */
import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { promisify } from "node:util";

import type { Random } from "@warren/std";

const run = promisify(execFile);

/** Builds the library; its path. */
export async function buildDiskJournal(directory: string): Promise<string> {
  const library = join(directory, "disk-journal.so");
  await run("cc", ["-shared", "-fPIC", "-O1", "-Wall", "-o", library, join(import.meta.dirname, "disk-journal.c")]);
  return library;
}

/** Numbered from 1 in the journal. */
const operations = ["create", "write", "truncate", "sync-begin", "sync-end", "rename", "remove"] as const;
const headBytes = 32;

export interface DiskOperation {
  /** Of CLOCK_MONOTONIC, the same for all processes. */
  readonly ns: bigint;
  readonly kind: (typeof operations)[number];
  /** Below the root. */
  readonly path: string;
  /** The offset of a write, the length of a truncation, the thread of a sync. */
  readonly number: number;
  readonly data: Buffer;
}

export async function readJournal(file: string, root: string): Promise<DiskOperation[]> {
  const bytes = await readFile(file);
  const found: DiskOperation[] = [];
  for (let at = 0; at < bytes.length;) {
    const pathLength = bytes.readUInt32LE(at + 12);
    const dataLength = bytes.readUInt32LE(at + 24);
    const [path, data] = [at + headBytes, at + headBytes + pathLength];
    found.push({
      ns: bytes.readBigInt64LE(at),
      kind: operations[bytes.readUInt32LE(at + 8) - 1]!,
      path: relative(root, bytes.toString("utf8", path, data)),
      number: Number(bytes.readBigInt64LE(at + 16)),
      data: bytes.subarray(data, data + dataLength),
    });
    at = data + dataLength;
  }
  return found;
}

interface File {
  content: Buffer;
  durable: Buffer;
}

interface Sync {
  readonly file: File | undefined;
  readonly content: Buffer;
  readonly names: Map<string, File>;
  readonly order: number;
}

/** `none`: what is not synced is gone. `all`: the process died and the machine did not. `some`: chance decides. */
export type Kept = "none" | "some" | "all";

/** A disk that does again what a member did, and is asked at any moment what a power failure would leave. */
export class ReplayedDisk {
  private names = new Map<string, File>();
  private durableNames = new Map<string, File>();
  /** Under way, by thread. */
  private readonly syncs = new Map<number, Sync>();
  private begun = 0;
  private durableSince = 0;
  /** Counts the changes of what is durable. */
  version = 0;

  apply({ kind, path, number, data }: DiskOperation, root: string): void {
    const file = this.names.get(path);
    switch (kind) {
      case "create":
        // An emptied file keeps its durable content until a sync.
        if (file === undefined) this.names = new Map(this.names).set(path, { content: empty, durable: empty });
        else file.content = empty;
        return;
      case "write": {
        if (file === undefined) throw new Error(`a write to ${path}, which nobody made`);
        const grown = Buffer.alloc(Math.max(file.content.length, number + data.length));
        file.content.copy(grown);
        data.copy(grown, number);
        file.content = grown;
        return;
      }
      case "truncate":
        if (file !== undefined) file.content = Buffer.concat([file.content, Buffer.alloc(number)]).subarray(0, number);
        return;
      case "sync-begin":
        this.syncs.set(number, { file, content: file?.content ?? empty, names: this.names, order: this.begun++ });
        return;
      case "sync-end": {
        const sync = this.syncs.get(number)!;
        if (sync.file !== undefined) sync.file.durable = sync.content;
        // One that began earlier may end later: it takes nothing back.
        if (sync.order >= this.durableSince) this.durableNames = sync.names;
        this.durableSince = Math.max(this.durableSince, sync.order);
        this.version++;
        return;
      }
      case "rename": {
        const to = relative(root, data.toString());
        // Of a folder, all that is in it.
        const moved = [...this.names].filter(([name]) => name === path || name.startsWith(`${path}/`));
        this.names = new Map(this.names);
        for (const [name, one] of moved) {
          this.names.delete(name);
          this.names.set(to + name.slice(path.length), one);
        }
        return;
      }
      case "remove":
        this.names = new Map(this.names);
        this.names.delete(path);
        return;
    }
  }

  /** Writes what is left into a new directory. */
  async leave(directory: string, kept: Kept, random: Random): Promise<void> {
    const namesKept = kept === "all" || (kept === "some" && random.next() < 0.5);
    await mkdir(directory, { recursive: true });
    for (const [path, file] of namesKept ? this.names : this.durableNames) {
      await mkdir(dirname(join(directory, path)), { recursive: true });
      await writeFile(join(directory, path), left(file, kept, random));
    }
  }
}

const empty = Buffer.alloc(0);
/** What a disk writes whole or not at all. */
const sectorBytes = 512;

function left({ content, durable }: File, kept: Kept, random: Random): Buffer {
  if (kept === "none") return durable;
  if (kept === "all" || content.equals(durable)) return content;
  if (content.length <= sectorBytes) return random.next() < 0.5 ? content : durable;
  // A prefix of what was written behind the durable end, cut anywhere.
  const end = durable.length + random.int(Math.max(1, content.length - durable.length + 1));
  return Buffer.concat([durable, content.subarray(durable.length, end)]);
}
