import { mkdir, readFile, rename, rm, stat, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ContainerSpec, ExitStatus, Mount } from "@warren/runtime";
import type { NativeProgram } from "./native-program.ts";
import { hostnameOf, type Surroundings } from "./oci-spec.ts";

/** Magic number of the file system that namespaces live in (`NSFS_MAGIC`). */
const namespaceFileSystem = 0x6e736673;

/**
 * What a container has beside containerd's records: a directory with its three files and its network namespace, on a
 * tmpfs, and, on disk, one with its log and one with the volumes of its image.
 */
export class ContainerDirectory {
  readonly path: string;
  readonly logPath: string;
  /** Of what its image declares as volumes. */
  readonly volumesPath: string;

  constructor(runDir: string, dataDir: string, id: string) {
    this.path = join(runDir, "containers", id);
    this.logPath = join(dataDir, "logs", id);
    this.volumesPath = join(dataDir, "volumes", id);
  }

  get netnsPath(): string {
    return join(this.path, "netns");
  }

  async make(spec: ContainerSpec, program: NativeProgram): Promise<Surroundings["files"]> {
    await Promise.all([
      mkdir(this.path, { recursive: true, mode: 0o711 }),
      mkdir(this.logPath, { recursive: true, mode: 0o700 }),
    ]);
    const files = { "/etc/hosts": "hosts", "/etc/hostname": "hostname", "/etc/resolv.conf": "resolv.conf" } as const;
    const text = {
      "/etc/hosts": hosts(spec),
      "/etc/hostname": `${hostnameOf(spec)}\n`,
      "/etc/resolv.conf": resolvConf(spec),
    };
    const paths = {} as Record<keyof typeof files, string>;
    const write = async (target: keyof typeof files): Promise<void> => {
      paths[target] = join(this.path, files[target]);
      await writeFile(paths[target], text[target], { mode: 0o644 });
    };
    await Promise.all([
      ...(Object.keys(files) as (keyof typeof files)[]).map(write),
      program.createNetns(this.netnsPath),
    ]);
    return paths;
  }

  /** A directory of the container's own for each path, to be filled from the image. */
  async makeVolumes(targets: readonly string[]): Promise<Mount[]> {
    const make = async (target: string, i: number): Promise<Mount> => {
      const source = join(this.volumesPath, String(i));
      await mkdir(source, { recursive: true, mode: 0o755 });
      return { kind: "bind", source, target, fill: true };
    };
    return Promise.all(targets.map(make));
  }

  /** From here on it is not `created` any more, whatever becomes of its task. */
  async markStarted(): Promise<void> {
    await writeFile(join(this.path, "started"), "");
  }

  async unmarkStarted(): Promise<void> {
    await rm(join(this.path, "started"), { force: true });
  }

  /**
   * Keeps how it ended, on disk: its task, which knows it, does not outlive a reboot or its shim. Not forced there, since
   * a machine that goes down in order writes it, and one that does not has ended no container itself.
   */
  async recordExit(exit: ExitStatus): Promise<void> {
    const path = join(this.logPath, "exit");
    try {
      await writeFile(`${path}.new`, JSON.stringify(exit));
      await rename(`${path}.new`, path);
    } catch (error) {
      absent(error as NodeJS.ErrnoException); // removed meanwhile
    }
  }

  /** The recorded exit; undefined if none was recorded, or the record is incomplete. */
  async recordedExit(): Promise<ExitStatus | undefined> {
    const text = await readFile(join(this.logPath, "exit"), "utf8").catch(absent);
    return text === undefined ? undefined : parseExit(text);
  }

  /** Keeps containerd's record of it, which a damaged containerd loses while the container runs. */
  async keepRecord(record: Uint8Array): Promise<void> {
    await writeFile(join(this.logPath, "record"), record, { mode: 0o600 });
  }

  async keptRecord(): Promise<Uint8Array | undefined> {
    return readFile(join(this.logPath, "record")).catch(absent);
  }

  /** Whether nothing has run in it and it is whole; not after a reboot, which takes the namespace. */
  async isFresh(): Promise<boolean> {
    const started = await stat(join(this.path, "started")).catch(absent);
    if (started !== undefined) return false;
    return (await statfs(this.netnsPath).catch(absent))?.type === namespaceFileSystem;
  }

  async remove(program: NativeProgram): Promise<void> {
    if ((await stat(this.netnsPath).catch(absent)) !== undefined) await program.deleteNetns(this.netnsPath);
    await Promise.all([
      rm(this.path, { recursive: true, force: true }),
      rm(this.logPath, { recursive: true, force: true }),
      rm(this.volumesPath, { recursive: true, force: true }),
    ]);
  }
}

function parseExit(text: string): ExitStatus | undefined {
  try {
    const { code, oomKilled, finishedAt } = JSON.parse(text) as Partial<ExitStatus>;
    const isWhole = typeof code === "number" && typeof oomKilled === "boolean" && typeof finishedAt === "number";
    return isWhole ? { code, oomKilled, finishedAt } : undefined;
  } catch {
    return undefined; // incomplete after a power failure: as without a record
  }
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
  throw error;
}

function hosts(spec: ContainerSpec): string {
  const extra = Object.entries(spec.extraHosts ?? {}).map(([name, address]) => `${address}\t${name}\n`);
  return `127.0.0.1\tlocalhost ${hostnameOf(spec)}\n::1\tlocalhost\n${extra.join("")}`;
}

function resolvConf({ dns }: ContainerSpec): string {
  const lines = (dns?.servers ?? []).map((server) => `nameserver ${server}\n`);
  if (dns?.search?.length) lines.push(`search ${dns.search.join(" ")}\n`);
  if (dns?.options?.length) lines.push(`options ${dns.options.join(" ")}\n`);
  return lines.join("");
}
