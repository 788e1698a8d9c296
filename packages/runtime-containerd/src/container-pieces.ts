import { existsSync, readFileSync, readdirSync } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { RuntimeError, stopSignalNumber, type ContainerSpec, type RuntimeInfo } from "@warren/runtime";
import type { Cgroups } from "./cgroup.ts";
import { unless, type Connection } from "./connection.ts";
import { ContainerDirectory } from "./container-directory.ts";
import { ContainerLog } from "./container-log.ts";
import { maskedOfProcessors, sysctls } from "./docker-defaults.ts";
import type { Container } from "./generated/containerd/containers.ts";
import { Options } from "./generated/containerd/runc.ts";
import { Kind, SnapshotsService } from "./generated/containerd/snapshots.ts";
import type { Mount } from "./generated/containerd/types.ts";
import { snapshotter, type UnpackedImage } from "./image-store.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import { layersOf, type NativeProgram } from "./native-program.ts";
import { ociSpec, type Surroundings } from "./oci-spec.ts";
import { ignoresTmpfsModes } from "./runtime-faults.ts";
import { processUser, readUserTables, type UserTables } from "./process-user.ts";

const specType = "types.containerd.io/opencontainers/runtime-spec/1/Spec";
const shim = "io.containerd.runc.v2";
const shimOptionsType = "containerd.runc.v1.Options";
export const stopSignalLabel = "warren.stop-signal";
/** How its main process' output is kept; written at create, used at start. */
export const logUriLabel = "warren.log";
/** Which start of the machine made it. */
export const bootLabel = "warren.boot";
/** What an id looks like; the keys of what a pull unpacks have a space. */
const idGrammar = /^[a-z0-9][a-z0-9-]{0,75}$/;
/** Images whose users are remembered; thirty containers of one image ask once. */
const rememberedImages = 64;

export interface Places {
  readonly namespace: string;
  readonly runDir: string;
  readonly dataDir: string;
  readonly cgroupParent: string;
  readonly architecture: string;
}

/**
 * All that a container has beside containerd's record of it: its layer, network namespace, small files, log, volumes
 * and what runc keeps. Each piece is found by the container's id.
 */
export class ContainerPieces {
  readonly #connection: Connection;
  readonly #program: NativeProgram;
  readonly #cgroups: Cgroups;
  readonly #places: Places;
  readonly #ociRuntime: () => Promise<Pick<RuntimeInfo, "ociRuntime">>;
  readonly #kernel = kernelDefaults();
  /** A directory that several containers share is filled by one. */
  readonly #filling = new KeyedQueue();
  readonly #users = new Map<string, UserTables>();

  constructor(
    dependencies: {
      readonly connection: Connection;
      readonly program: NativeProgram;
      readonly cgroups: Cgroups;
      readonly ociRuntime: () => Promise<Pick<RuntimeInfo, "ociRuntime">>;
    },
    places: Places,
  ) {
    this.#ociRuntime = dependencies.ociRuntime;
    this.#connection = dependencies.connection;
    this.#program = dependencies.program;
    this.#cgroups = dependencies.cgroups;
    this.#places = places;
  }

  directory(id: string): ContainerDirectory {
    return new ContainerDirectory(this.#places.runDir, this.#places.dataDir, id);
  }

  cgroupPath(id: string): string {
    return `${this.#places.cgroupParent}/${id}`;
  }

  /** Makes all pieces; gives the record that is to be made of them. */
  async make(spec: ContainerSpec, image: UnpackedImage): Promise<Container> {
    const { id } = spec;
    const { config } = image;
    const directory = this.directory(id);
    const [snapshot, files] = await Promise.all([
      this.#snapshot(id, image),
      this.#clear(id).then(() => directory.make(spec, this.#program)),
    ]);
    const layers = layersOf(snapshot);
    const mounts = [...(await directory.makeVolumes(imageVolumes(spec, config.volumes))), ...(spec.mounts ?? [])];
    const [tables] = await Promise.all([this.#usersOf(image.chainId, layers), this.#fill(mounts, layers)]);
    const user = processUser(spec.user ?? config.user ?? "", spec.groups ?? [], tables);
    const oci = await ociSpec({ ...spec, mounts }, config, {
      architecture: this.#places.architecture,
      netnsPath: directory.netnsPath,
      cgroupsPath: `/${this.cgroupPath(id)}`,
      cgroups: this.#cgroups,
      initProgram: this.#program.path,
      ignoresTmpfsModes: ignoresTmpfsModes(await this.#ociRuntime()),
      kernel: this.#kernel,
      user,
      files,
    });
    const uri = new ContainerLog(directory.logPath).uri(this.#program.path, spec);
    return {
      id,
      labels: {
        ...spec.labels,
        [stopSignalLabel]: String(stopSignalNumber(spec.stopSignal, config.stopSignal)),
        [bootLabel]: bootId(),
        [logUriLabel]: JSON.stringify({ uri, tty: spec.tty ?? false }),
      },
      image: image.ref,
      runtime: { name: shim, options: { typeUrl: shimOptionsType, value: this.#shimOptions() } },
      spec: { typeUrl: specType, value: Buffer.from(JSON.stringify(oci)) },
      snapshotter,
      snapshotKey: id,
    };
  }

  async remove(id: string): Promise<void> {
    await unless(this.#connection.unary(SnapshotsService.remove, { snapshotter, key: id }), "RUNTIME_NOT_FOUND");
    await this.#clear(id);
  }

  /** The ids of all that there is a piece of. */
  async ids(): Promise<Set<string>> {
    const found = new Set<string>();
    const filters = ["kind==active"];
    for await (const { info } of this.#connection.serverStream(SnapshotsService.list, { snapshotter, filters })) {
      for (const { name, kind } of info) if (kind === Kind.ACTIVE && idGrammar.test(name)) found.add(name);
    }
    const { runDir, dataDir } = this.#places;
    const folders = [join(runDir, "containers"), join(dataDir, "logs"), join(dataDir, "volumes"), this.#runcState()];
    for (const folder of folders) for (const name of await namesIn(folder)) found.add(name);
    return found;
  }

  async #clear(id: string): Promise<void> {
    await this.directory(id).remove(this.#program);
    // runc takes no id that it thinks it has.
    // A containerd that has just come back may clean it up too, and runc write to it meanwhile (ENOTEMPTY).
    await rm(join(this.#runcState(), id), { recursive: true, force: true, maxRetries: 5 });
  }

  /** runc's own default is one for all containerds of a machine. */
  #runcRoot(): string {
    return join(this.#places.runDir, "runc");
  }

  #runcState(): string {
    return join(this.#runcRoot(), this.#places.namespace);
  }

  #shimOptions(): Buffer {
    return Buffer.from(Options.encode({ root: this.#runcRoot() }).finish());
  }

  /** The container's own layer. It is a root of garbage collection until the record refers to it, and after. */
  async #snapshot(id: string, image: UnpackedImage): Promise<readonly Mount[]> {
    const labels = { "containerd.io/gc.root": new Date().toISOString() };
    const prepare = async (): Promise<readonly Mount[]> => {
      const request = { snapshotter, key: id, parent: image.chainId, labels };
      return (await this.#connection.unary(SnapshotsService.prepare, request)).mounts;
    };
    try {
      const mounts = await unless(prepare(), "RUNTIME_ALREADY_EXISTS");
      if (mounts !== undefined) return mounts;
      // Left by a create that was cut off: there is no record of it.
      await unless(this.#connection.unary(SnapshotsService.remove, { snapshotter, key: id }), "RUNTIME_NOT_FOUND");
      return await prepare();
    } catch (error) {
      if (!RuntimeError.is(error, "RUNTIME_NOT_FOUND")) throw error;
      throw new RuntimeError(
        { code: "RUNTIME_IMAGE_NOT_FOUND", ref: image.ref },
        `${image.ref} was removed meanwhile: pull it again`,
        { cause: error },
      );
    }
  }

  async #usersOf(chainId: string, layers: readonly string[]): Promise<UserTables> {
    const known = this.#users.get(chainId);
    if (known !== undefined) return known;
    const scratch = await this.#scratch();
    const tables = await readUserTables((path, most) => this.#program.readOfImage(layers, path, most, scratch));
    const [oldest] = this.#users.keys();
    if (oldest !== undefined && this.#users.size >= rememberedImages) this.#users.delete(oldest);
    this.#users.set(chainId, tables);
    return tables;
  }

  async #fill(mounts: NonNullable<ContainerSpec["mounts"]>, layers: readonly string[]): Promise<void> {
    for (const mount of mounts) {
      if (mount.kind !== "bind" || !mount.fill) continue;
      const scratch = await this.#scratch();
      await this.#filling.run(mount.source, async () => {
        await this.#program.fill(layers, mount.target, mount.source, scratch).catch((error: unknown) => {
          throw cannotFill(mount.source, error);
        });
      });
    }
  }

  /** Where images' roots are mounted, each seen by one thread of the program alone. */
  async #scratch(): Promise<string> {
    const path = join(this.#places.runDir, "scratch");
    await mkdir(path, { recursive: true, mode: 0o700 });
    return path;
  }
}

/** The kernel's name for this start of the machine. */
export function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}

/** What of Docker's defaults depends on the machine. */
function kernelDefaults(): Surroundings["kernel"] {
  const isThere = (name: string): boolean => existsSync(join("/proc/sys", name.replaceAll(".", "/")));
  const processors = "/sys/devices/system/cpu";
  const names = existsSync(processors) ? readdirSync(processors).filter((name) => /^cpu\d+$/.test(name)) : [];
  const paths = maskedOfProcessors.flatMap((path) => names.map((name) => path.replace("cpuN", name)));
  return { sysctls: new Set(Object.keys(sysctls).filter(isThere)), maskedPaths: paths.filter(existsSync) };
}

/** The image's volumes that nothing is mounted on by the spec. */
function imageVolumes({ mounts = [] }: ContainerSpec, volumes: readonly string[]): readonly string[] {
  const targets = new Set(mounts.map(({ target }) => target.replace(/(?<=.)\/+$/, "")));
  return volumes.filter((volume) => !targets.has(volume));
}

function cannotFill(source: string, error: unknown): unknown {
  if (!RuntimeError.is(error, "RUNTIME_FAILED")) return error;
  const full = /No space left|Disk quota/i.test(error.message);
  return new RuntimeError(
    full ? { code: "RUNTIME_DISK_FULL" } : { code: "RUNTIME_SPEC_INVALID", field: "mounts" },
    `mounts: ${source} can't be filled from the image: ${error.message}`,
    { cause: error },
  );
}

async function namesIn(folder: string): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  return readdir(folder);
}
