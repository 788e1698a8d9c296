/**
 * A machine's files: what was written is readable at once and durable after a sync.
 *
 * When the power fails, names that no sync of the directory followed may be as they were, from some moment on; of unsynced
 * bytes each sector is the old one or the new one, or those up to some byte are new.
 */
import type { Random } from "@warren/std";

import { sectorBytes } from "../../storage/journal.ts";

export interface Inode {
  data: Buffer;
  durable: Buffer;
  /** It is overwritten in place, sector by sector. */
  inPlace: boolean;
}

const empty = Buffer.alloc(0);

export class SimulatedFiles {
  private names = new Map<string, Inode>();
  private readonly durableNames = new Map<string, Inode>();
  private unsynced: (() => void)[] = [];

  list(): string[] {
    return [...this.names.keys()];
  }

  find(name: string): Inode | undefined {
    return this.names.get(name);
  }

  open(name: string): Inode {
    const inode = this.names.get(name);
    if (inode === undefined) throw new Error(`no file ${name}`);
    return inode;
  }

  /** To be overwritten in place. */
  openInPlace(name: string): Inode {
    const inode = this.open(name);
    inode.inPlace = true;
    inode.data = Buffer.from(inode.data);
    inode.durable = Buffer.from(inode.durable);
    return inode;
  }

  /** A new file, in the place of one that had its name. */
  create(name: string): Inode {
    const inode: Inode = { data: empty, durable: empty, inPlace: false };
    this.names.set(name, inode);
    this.unsynced.push(() => void this.durableNames.set(name, inode));
    return inode;
  }

  remove(name: string): void {
    this.names.delete(name);
    this.unsynced.push(() => void this.durableNames.delete(name));
  }

  rename(from: string, to: string): void {
    const inode = this.open(from);
    this.names.delete(from);
    this.names.set(to, inode);
    this.unsynced.push(() => {
      this.durableNames.delete(from);
      this.durableNames.set(to, inode);
    });
  }

  syncDirectory(): void {
    for (const change of this.unsynced) change();
    this.unsynced = [];
  }

  powerOff(random: Random): void {
    for (const change of this.unsynced.slice(0, random.int(this.unsynced.length + 1))) change();
    this.unsynced = [];
    this.names = new Map(this.durableNames);
    for (const inode of this.names.values()) {
      inode.data = left(inode, random);
      inode.durable = inode.data;
    }
  }
}

/** Writes in place what happens to be written of `bytes` when the write is cut: some sectors. */
export function tearInto(data: Buffer, bytes: Uint8Array, position: number, random: Random): void {
  for (let at = 0; at < bytes.length; at += sectorBytes) {
    if (random.int(2) === 0) data.set(bytes.subarray(at, at + sectorBytes), position + at);
  }
}

/** What a file holds after the power failed. */
function left({ data, durable, inPlace }: Inode, random: Random): Buffer {
  if (data === durable || data.equals(durable)) return durable;
  switch (random.int(inPlace ? 3 : 4)) {
    case 0:
      return durable;
    case 1:
      return data;
    case 2: {
      const long = random.int(2) === 0 ? data : durable;
      const torn = Buffer.alloc(long.length);
      for (let at = 0; at < torn.length; at += sectorBytes) {
        // A sector that the file did not have is zeros.
        const sector = (random.int(2) === 0 ? data : durable).subarray(at, Math.min(at + sectorBytes, torn.length));
        torn.set(sector, at);
      }
      return torn;
    }
    default: {
      const cut = random.int(data.length + 1);
      return Buffer.concat([data.subarray(0, cut), durable.subarray(cut)]);
    }
  }
}
