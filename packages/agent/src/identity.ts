import { open, readFile, rename, mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { openEntry, sealEntry } from "./record-entry.ts";

/** Which node a machine is. */
export interface Identity {
  readonly nodeId: string;
  /** How often the record was opened: one that says less has lost what was written since. */
  readonly opened: number;
}

const level = 1;

/** Undefined where there is none, or none that is whole. */
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

/** Where the identity of the record in `directory` is. */
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

/** On disk as a whole, or not at all, when it resolves. */
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
