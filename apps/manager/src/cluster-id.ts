/** The id of the cluster that this manager belongs to: a file, whose presence says that there is one. */
import { open, readFile, rename, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { ManagerError } from "./errors.ts";

const fileName = "cluster-id";

/** Undefined while this manager has no cluster. @throws ManagerError `MANAGER_STATE_UNREADABLE` */
export async function readClusterId(directory: string): Promise<string | undefined> {
  const path = join(directory, fileName);
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  const id = text?.trim();
  if (id === undefined || /^[0-9a-z]{25}$/.test(id)) return id;
  throw new ManagerError(
    { code: "MANAGER_STATE_UNREADABLE", path },
    `${path} holds no cluster's id: restore the folder from a backup, or remove it to begin anew`,
  );
}

/** On disk when it resolves, whole or not at all. */
export async function writeClusterId(directory: string, id: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, fileName);
  const file = await open(`${path}.new`, "w", 0o600);
  try {
    await file.writeFile(`${id}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${path}.new`, path);
  const folder = await open(directory, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
