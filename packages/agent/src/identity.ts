import { open, readFile, rename, mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { openEntry, sealEntry } from "./record-entry.ts";

/** The node id of a machine, in a file beside the worker's record. */
export interface Identity {
  readonly nodeId: string;
  /** How often the record was opened. A record with a lower count has lost its last writes. */
  readonly opened: number;
}

const level = 1;

/** Undefined if the file is missing or damaged. */
export async function readIdentity(path: string): Promise<Identity | undefined> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  return identityIn(bytes);
}

/** Path of the identity file of the record in `directory`. */
export function identityPathOf(directory: string): string {
  return `${directory}.identity`;
}

/** The id in an identity's bytes; undefined if they are damaged. */
export function nodeIdIn(bytes: Uint8Array): string | undefined {
  return identityIn(bytes)?.nodeId;
}

function identityIn(bytes: Uint8Array): Identity | undefined {
  const entry = openEntry("identity", bytes);
  if (entry.kind === "damaged") return undefined;
  return JSON.parse(Buffer.from(entry.body).toString()) as Identity;
}

/** Writes the file atomically; it is on disk when this resolves. */
export async function writeIdentity(path: string, identity: Identity): Promise<void> {
  const { bytes } = sealEntry("identity", level, Buffer.from(JSON.stringify(identity)));
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const fresh = join(dirname(path), `.${identity.opened}.identity`);
  {
    await using file = await open(fresh, "w", 0o600);
    await file.writeFile(bytes);
    await file.sync();
  }
  await rename(fresh, path);
  await using folder = await open(dirname(path), "r");
  await folder.sync();
}
