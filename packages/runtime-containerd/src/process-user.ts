import { RuntimeError } from "@warren/runtime";
import { hasErrno } from "./native-program.ts";
import type { ProcessUser } from "./oci-spec.ts";

/** Rows of `/etc/passwd` and `/etc/group`, split at colons. */
export interface UserTables {
  readonly passwd: readonly (readonly string[])[];
  readonly group: readonly (readonly string[])[];
}

/** Longest table that is read: more than ten thousand users are treated as an attack. */
const tableBytes = 1024 * 1024;

/**
 * An image's or a container's own users and groups. A table that is not there is empty.
 *
 * @param read a regular file, resolved within the image's or container's root
 * @throws RuntimeError `RUNTIME_SPEC_INVALID` (`user`) where a table is no file, or longer than one can be
 */
export async function readUserTables(
  read: (path: string, mostBytes: number) => Promise<Uint8Array>,
): Promise<UserTables> {
  const table = async (path: string): Promise<string[][]> => {
    try {
      const text = Buffer.from(await read(path, tableBytes)).toString();
      return text.split("\n").flatMap((line) => (line === "" ? [] : [line.split(":")]));
    } catch (error) {
      if (hasErrno(error, "ENOENT") || hasErrno(error, "ENOTDIR")) return [];
      const why = hasErrno(error, "EFBIG")
        ? `is longer than ${tableBytes} bytes`
        : hasErrno(error, "EINVAL")
          ? "is no file"
          : hasErrno(error, "ELOOP")
            ? "is a link that leads nowhere"
            : undefined;
      if (why === undefined) throw error;
      throw new RuntimeError({ code: "RUNTIME_SPEC_INVALID", field: "user" }, `user: the image's ${path} ${why}`, {
        cause: error,
      });
    }
  };
  const [passwd, group] = await Promise.all([table("/etc/passwd"), table("/etc/group")]);
  return { passwd, group };
}

/** Who `user` and `groups` are: names by the tables, numbers as they are. */
export function processUser(user: string, groups: readonly string[], { passwd, group }: UserTables): ProcessUser {
  const [name = "", groupName] = user.split(":");
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
  const additional = [
    ...memberOf.flatMap((row) => number(row[2]) ?? []),
    ...groups.map((given) => groupId(given, "groups")),
  ];
  // With the main group among them, as in Docker: else a program that gives up its main group would get past files that
  // this group may not read (CVE-2022-36109, CVE-2023-25173).
  return { uid, gid, groups: [...new Set([gid, ...additional])] };
}

/** The kernel's ids end below this, which it takes for "none". */
const noId = 0xffff_ffff;

function number(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined;
  return Number(text) < noId ? Number(text) : undefined;
}

function unknown(field: string, name: string): RuntimeError {
  return new RuntimeError(
    { code: "RUNTIME_SPEC_INVALID", field },
    `${field}: the image knows no ${JSON.stringify(name.slice(0, 60))}; give a number or a name that is in it`,
  );
}
