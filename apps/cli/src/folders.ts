/** Where a machine's daemons keep what they have, and where they are reached. */
import { resolve } from "node:path";
import { Flags } from "@oclif/core";

export type DaemonName = "manager" | "worker";

export interface Folders {
  readonly dataDir: string;
  readonly runDir: string;
}

/** The machine's own. */
export const defaultFolders: Folders = { dataDir: "/var/lib/warren", runDir: "/run/warren" };

export const folderFlags = {
  "data-dir": Flags.string({
    description: "Directory of the daemons' state",
    default: defaultFolders.dataDir,
    helpGroup: "GLOBAL",
    helpValue: "PATH",
  }),
  "run-dir": Flags.string({
    description: "Directory of the daemons' sockets and process ids",
    default: defaultFolders.runDir,
    helpGroup: "GLOBAL",
    helpValue: "PATH",
  }),
};

/** What the flags say, as whole paths: a daemon's working directory is another. */
export function foldersOf(flags: { readonly "data-dir": string; readonly "run-dir": string }): Folders {
  return { dataDir: resolve(flags["data-dir"]), runDir: resolve(flags["run-dir"]) };
}
