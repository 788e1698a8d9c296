import { Flags } from "@oclif/core";

/** Where a machine's daemons keep what they have, and where they are reached. */
export const folderFlags = {
  "data-dir": Flags.string({ description: "state of the daemons", default: "/var/lib/warren", helpGroup: "GLOBAL" }),
  "run-dir": Flags.string({ description: "sockets of the daemons", default: "/run/warren", helpGroup: "GLOBAL" }),
};
