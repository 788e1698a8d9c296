import { lstat, readFile, realpath } from "node:fs/promises";
import { join } from "node:path";
import { RuntimeError } from "@warren/runtime";
import type { Mount } from "./generated/containerd/types.ts";
import type { ProcessUser } from "./oci-spec.ts";

/** Who `user` and `groups` are in the image: names by its passwd and group files, numbers as they are. */
export async function processUser(
  user: string,
  groups: readonly string[],
  mounts: readonly Mount[],
): Promise<ProcessUser> {
  const [name = "", groupName] = user.split(":");
  const passwd = await table(mounts, "etc/passwd");
  const group = await table(mounts, "etc/group");
  const wanted = name === "" ? "0" : name;
  const entry = passwd.find((row) => row[0] === wanted || row[2] === wanted);
  const uid = number(wanted) ?? number(entry?.[2]);
  if (uid === undefined) throw unknown("user", name);
  const groupId = (given: string, field: string): number => {
    const id = number(given) ?? number(group.find((row) => row[0] === given)?.[2]);
    if (id === undefined) throw unknown(field, given);
    return id;
  };
  const gid = groupName === undefined ? (number(entry?.[3]) ?? 0) : groupId(groupName, "user");
  const memberOf =
    groupName !== undefined || entry === undefined
      ? []
      : group.filter((row) => row[3]?.split(",").includes(entry[0] ?? ""));
  const additional = [...memberOf.map((row) => Number(row[2])), ...groups.map((g) => groupId(g, "groups"))];
  return { uid, gid, groups: [...new Set(additional)] };
}

function number(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}

function unknown(field: string, name: string): RuntimeError {
  return new RuntimeError(
    { code: "RUNTIME_SPEC_INVALID", field },
    `${field}: the image knows no "${name}"; give a number or a name that is in it`,
  );
}

/** The rows of a file of the image's root, read from its layers, the upper one first, so that nothing has to be mounted. */
async function table(mounts: readonly Mount[], path: string): Promise<string[][]> {
  for (const layer of layers(mounts)) {
    const file = join(layer, path);
    const found = await lstat(file).catch((error: NodeJS.ErrnoException) => error);
    if (found instanceof Error) {
      if (found.message.includes("ENOENT") || found.message.includes("ENOTDIR")) continue;
      throw found;
    }
    // A link could lead out of the image, and a device is overlayfs's word for "deleted".
    if (!found.isFile() || (await realpath(file)) !== join(await realpath(layer), path)) return [];
    return (await readFile(file, "utf8")).split("\n").flatMap((line) => (line === "" ? [] : [line.split(":")]));
  }
  return [];
}

function layers(mounts: readonly Mount[]): string[] {
  return mounts.flatMap(({ type, source, options }) => {
    if (type !== "overlay") return [source];
    const value = (key: string): string => options.find((o) => o.startsWith(`${key}=`))?.slice(key.length + 1) ?? "";
    return [value("upperdir"), ...value("lowerdir").split(":")].filter((dir) => dir !== "");
  });
}
