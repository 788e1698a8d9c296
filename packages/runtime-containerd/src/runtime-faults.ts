import type { RuntimeInfo } from "@warren/runtime";

/** A hole that the programs below us are known to have. */
export interface RuntimeFault {
  readonly id: string;
  /** What an attacker can do with it. */
  readonly what: string;
  /** `take a build with 1.1.12 or …`, for people. */
  readonly remedy: string;
}

interface KnownFault {
  readonly id: string;
  readonly what: string;
  /** The first version of each release series that has it mended; an older series has none, a newer one always. */
  readonly mended: readonly string[];
  /** Builds of distributions that have it mended under an older version. */
  readonly backports?: RegExp;
}

/**
 * Of runc's change log (1.5.3, 2026-11-12), what a container or an image that we run can do to its machine. Not here are
 * faults of what we never ask for: rootless containers, checkpoints.
 */
const runcFaults: readonly KnownFault[] = [
  {
    id: "CVE-2026-41579",
    what: "an image whose /dev is a link writes to the machine, within narrow limits",
    mended: ["1.3.6", "1.4.3", "1.5.0"],
  },
  {
    id: "CVE-2025-31133",
    what: "a container that races the masking of paths writes to files of /proc and breaks out",
    mended: ["1.2.8", "1.3.3", "1.4.0"],
  },
  {
    id: "CVE-2025-52565",
    what: "a container that races the mount of its console writes to files of /proc and breaks out",
    mended: ["1.2.8", "1.3.3", "1.4.0"],
  },
  {
    id: "CVE-2025-52881",
    what: "a container that races writes to /proc redirects them, and breaks out or stops the machine",
    mended: ["1.2.8", "1.3.3", "1.4.0"],
  },
  {
    id: "CVE-2024-45310",
    what: "a container makes empty files and directories on the machine",
    mended: ["1.1.14", "1.2.0"],
  },
  {
    id: "CVE-2024-21626",
    what: "an image whose working directory is a descriptor of runc reads and writes the machine's files",
    mended: ["1.1.12", "1.2.0"],
    backports: /\+deb12u[1-9]/,
  },
  {
    id: "CVE-2023-27561",
    what: "a container whose /proc is a link escapes what confines it",
    mended: ["1.1.5", "1.2.0"],
  },
  { id: "CVE-2021-30465", what: "a container that races a mount reaches the machine's files", mended: ["1.0.0"] },
];

/**
 * The holes that this machine's runc is known to have, by the version that it says. Builds of distributions mend some
 * under the old version: what is not known to be such is named.
 */
export function knownRuntimeFaults(info: Pick<RuntimeInfo, "ociRuntime">): readonly RuntimeFault[] {
  const { ociRuntime = "" } = info;
  const version = /^runc (\d+\.\d+\.\d+)/.exec(ociRuntime)?.[1];
  if (version === undefined) return [];
  return runcFaults
    .filter(({ mended, backports }) => !isMended(ociRuntime, version, mended) && !backports?.test(ociRuntime))
    .map(({ id, what, mended }) => {
      const remedy = `take a build with ${mended.join(" or ")} or later, or your distribution's update`;
      return { id, what, remedy };
    });
}

/**
 * Whether the machine's runc leaves a tmpfs on a directory of the image with that directory's permissions, whatever mode
 * is asked for, or (1.1.8) without its sticky bit. False of one whose version is not known, and of other runtimes.
 */
export function ignoresTmpfsModes({ ociRuntime = "" }: Pick<RuntimeInfo, "ociRuntime">): boolean {
  const version = /^runc (\d+\.\d+\.\d+)/.exec(ociRuntime)?.[1];
  return version !== undefined && !isMended(ociRuntime, version, ["1.1.9", "1.2.0"]);
}

/** Of its own release series the first that has it; a series that is newer than all has it from its beginning. */
function isMended(build: string, version: string, mended: readonly string[]): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split(".").map(Number);
  const firsts = mended.map((text) => text.split(".").map(Number));
  const own = firsts.find(([a, b]) => a === major && b === minor);
  // A candidate comes before what it is one for.
  if (own !== undefined) return patch > (own[2] ?? 0) || (patch === own[2] && !/^runc [\d.]+-rc/.test(build));
  const [lastMajor = 0, lastMinor = 0] = firsts.at(-1) ?? [];
  return major > lastMajor || (major === lastMajor && minor > lastMinor);
}
