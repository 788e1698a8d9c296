/**
 * The identity file: which cluster a manager belongs to. A missing, a valid and a damaged file are distinguished.
 */
import { createHash } from "node:crypto";
import { mkdir, open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { MembershipError } from "./errors.ts";

export interface Identity {
  readonly clusterId: string;
  /** The manager's id in the cluster's table of managers. */
  readonly managerId: string;
  /**
   * `founding` until the cluster's first state is in the log: an interrupted founding continues at the next start. From
   * then on the log must exist.
   */
  readonly phase: "founding" | "member";
}

interface Stored extends Identity {
  /** Checksum of the other fields' JSON. */
  readonly sha256: string;
}

/** Undefined where the manager never belonged to a cluster. @throws MembershipError `MEMBERSHIP_IDENTITY_DAMAGED` */
export async function readIdentity(path: string): Promise<Identity | undefined> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  const stored = parse(text);
  if (stored === undefined) throw damaged(path);
  // With fields of a later program, if it has any: they are in the checksum, and go into the file again.
  const { sha256, ...identity } = stored;
  if (sha256 !== digest(identity)) throw damaged(path);
  return identity;
}

/** Resolves when the whole file is on disk; if it fails, the previous file stays. */
export async function writeIdentity(path: string, identity: Identity): Promise<void> {
  const stored: Stored = { ...identity, sha256: digest(identity) };
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const next = `${path}.new`;
  const file = await open(next, "w", 0o600);
  try {
    await file.writeFile(`${JSON.stringify(stored)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(next, path);
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function parse(text: string): Stored | undefined {
  try {
    const value = JSON.parse(text) as unknown;
    return typeof value === "object" && value !== null ? (value as Stored) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function digest(identity: Identity): string {
  return createHash("sha256").update(JSON.stringify(identity)).digest("hex");
}

function damaged(path: string): MembershipError {
  return new MembershipError(
    { code: "MEMBERSHIP_IDENTITY_DAMAGED", path },
    `${path}, the file that names this manager's cluster, is damaged: its checksum does not match`,
    `put the file back from a copy of this folder; nothing was changed`,
  );
}
