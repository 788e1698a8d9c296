import { once } from "node:events";
import { assert, newId, type Random } from "@warren/std";
import { RuntimeError, parseReference, type Image, type PullOptions, type Reference } from "@warren/runtime";
import type { ServiceError } from "@grpc/grpc-js";
import { fromGrpc, unless, type Connection } from "./connection.ts";
import {
  ContentService,
  WriteAction,
  type WriteContentRequest,
  type WriteContentResponse,
} from "./generated/containerd/content.ts";
import { DiffService } from "./generated/containerd/diff.ts";
import { ImagesService } from "./generated/containerd/images.ts";
import { LeasesService } from "./generated/containerd/leases.ts";
import { SnapshotsService } from "./generated/containerd/snapshots.ts";
import { platformManifest, type ImageConfig, type Manifest } from "./image-config.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import { Registry, digestOf, indexTypes, mismatch, type Descriptor, type Document } from "./registry.ts";

export const snapshotter = "overlayfs";

/** What a container is made from. */
export interface UnpackedImage {
  readonly ref: string;
  readonly config: ImageConfig;
  /** The snapshot that holds the image's root. */
  readonly chainId: string;
}

const tooManyRequests = 429;

/** Most bytes in one message to the content store. */
const chunkBytes = 1024 * 1024;

/** How long what a broken pull brought is kept for the next try, ms. */
const leaseMs = 24 * 3_600_000;
/** Image configs that are remembered; a container's start then asks for one thing less. */
const rememberedImages = 256;

export interface ImageStoreOptions {
  /** In OCI's words. */
  readonly architecture: string;
  readonly mirrors: Readonly<Record<string, readonly string[]>>;
}

/**
 * Images in containerd: brought from registries, kept under leases until their record refers to them, unpacked.
 *
 * P1 One pull of a name at a time, one download of a blob, one unpacking of a layer: the others find it done.
 * P2 Nothing is removed while something is pulled, which may build on it.
 */
export class ImageStore {
  readonly #connection: Connection;
  readonly #random: Random;
  readonly #fetch: typeof fetch;
  readonly #options: ImageStoreOptions;
  readonly #queue = new KeyedQueue();
  readonly #pulls = new Set<Promise<unknown>>();
  #removal: Promise<unknown> = Promise.resolve();
  readonly #remembered = new Map<string, Omit<UnpackedImage, "ref">>();

  constructor(
    {
      connection,
      random,
      fetch: fetcher,
    }: { readonly connection: Connection; readonly random: Random; readonly fetch: typeof fetch },
    options: ImageStoreOptions,
  ) {
    this.#connection = connection;
    this.#random = random;
    this.#fetch = fetcher;
    this.#options = options;
  }

  async pull(ref: string, options: PullOptions): Promise<Image> {
    const reference = parseReference(ref);
    await this.#removal;
    options.signal?.throwIfAborted();
    const pull = this.#queue.run(`pull ${reference.full}`, () => this.#pull(reference, options));
    const settled = pull.catch(() => undefined).finally(() => this.#pulls.delete(settled));
    this.#pulls.add(settled);
    return pull;
  }

  async #pull(reference: Reference, options: PullOptions): Promise<Image> {
    options.signal?.throwIfAborted();
    const present = await this.#record(reference);
    // A digest names one thing for ever: what is here is it.
    if (present !== undefined && present.digest === reference.selector) return present;
    const registry = new Registry(reference, {
      auth: options.auth,
      fetch: this.#fetch,
      mirrors: this.#options.mirrors[reference.registry] ?? [],
    });
    let root: Document;
    try {
      root = await registry.manifest(reference.selector, options.signal);
    } catch (error) {
      if (present === undefined || !isAway(error)) throw error;
      return present;
    }
    if (present?.digest === root.descriptor.digest) return present;
    return this.#lease(`warren-pull-${digestOf(reference.full).slice("sha256:".length)}`, async (lease) => {
      await this.#bring(reference, registry, root, lease, options);
      return { ref: reference.full, digest: root.descriptor.digest };
    });
  }

  /**
   * @param users the names of images that containers use, asked for when nothing is pulled any more
   */
  async removeUnused(keep: ReadonlySet<string>, users: () => Promise<readonly string[]>): Promise<Image[]> {
    const kept = new Set([...keep].map((ref) => parseReference(ref).full));
    const before = this.#removal;
    const removal = (async (): Promise<Image[]> => {
      await before;
      await Promise.all(this.#pulls); // P2
      const used = new Set(await users());
      const unused = (await this.list()).filter(({ ref }) => !kept.has(ref) && !used.has(ref));
      for (const [i, { ref: name }] of unused.entries()) {
        // With the last of them containerd collects what only they referred to, before it answers.
        const sync = i === unused.length - 1;
        await unless(this.#connection.unary(ImagesService.delete, { name, sync }), "RUNTIME_NOT_FOUND");
      }
      return unused;
    })();
    this.#removal = removal.catch(() => undefined);
    return removal;
  }

  async list(): Promise<Image[]> {
    const { images } = await this.#connection.unary(ImagesService.list, { filters: [] });
    return images.map(({ name, target }) => ({ ref: name, digest: target?.digest ?? "" }));
  }

  /** @throws RuntimeError `RUNTIME_IMAGE_NOT_FOUND` where it was not pulled */
  async get(ref: string): Promise<UnpackedImage> {
    const { full } = parseReference(ref);
    const found = await unless(this.#connection.unary(ImagesService.get, { name: full }), "RUNTIME_NOT_FOUND");
    const target = found?.image?.target;
    if (target === undefined)
      throw new RuntimeError(
        { code: "RUNTIME_IMAGE_NOT_FOUND", ref: full },
        `${full} is not on this machine: pull it first`,
      );
    const remembered = this.#remembered.get(target.digest);
    if (remembered !== undefined) return { ref: full, ...remembered };
    let document: unknown = await this.#json(target.digest);
    if (indexTypes.includes(target.mediaType))
      document = await this.#json(
        platformManifest(full, document as { manifests: Descriptor[] }, this.#options.architecture).digest,
      );
    const config = (await this.#json((document as Manifest).config.digest)) as ImageConfig;
    const unpacked = { config, chainId: chainIds(config.rootfs.diff_ids).at(-1) ?? "" };
    const [oldest] = this.#remembered.keys();
    if (oldest !== undefined && this.#remembered.size >= rememberedImages) this.#remembered.delete(oldest);
    this.#remembered.set(target.digest, unpacked);
    return { ref: full, ...unpacked };
  }

  /**
   * Runs `work`, whose makings are kept by the lease until a record refers to them. When it fails, or this process
   * ends, the lease stays for a day: the next pull of the name takes it over and goes on from there.
   */
  async #lease<T>(id: string, work: (lease: string) => Promise<T>): Promise<T> {
    const expires = new Date(Date.now() + leaseMs).toISOString().replace(/\.\d+Z$/, "Z");
    const lease = { id, labels: { "containerd.io/gc.expire": expires } };
    await unless(this.#connection.unary(LeasesService.create, lease), "RUNTIME_ALREADY_EXISTS");
    const result = await work(id);
    await unless(this.#connection.unary(LeasesService.delete, { id, sync: false }), "RUNTIME_NOT_FOUND");
    return result;
  }

  async #record({ full }: Reference): Promise<Image | undefined> {
    const found = await unless(this.#connection.unary(ImagesService.get, { name: full }), "RUNTIME_NOT_FOUND");
    return found?.image?.target && { ref: full, digest: found.image.target.digest };
  }

  async #bring(ref: Reference, registry: Registry, root: Document, lease: string, options: PullOptions): Promise<void> {
    let document = root;
    if (indexTypes.includes(root.descriptor.mediaType)) {
      const chosen = platformManifest(ref.full, parse(root) as { manifests: Descriptor[] }, this.#options.architecture);
      document = await registry.manifest(chosen.digest, options.signal);
    }
    const manifest = parse(document) as Manifest;
    if (!Array.isArray(manifest.layers) || manifest.config === undefined)
      throw new RuntimeError(
        { code: "RUNTIME_IMAGE_INVALID", ref: ref.full },
        `${ref.full} is no image: its manifest has no layers`,
      );
    const totalBytes = manifest.layers.reduce((sum, layer) => sum + layer.size, 0);
    let doneBytes = 0;
    const fetchBlob = async (descriptor: Descriptor, counts: boolean): Promise<void> => {
      await this.#blob(registry, descriptor, lease, options.signal);
      if (counts) options.onProgress?.({ doneBytes: (doneBytes += descriptor.size), totalBytes });
    };
    await fetchBlob(manifest.config, false);
    await Promise.all(manifest.layers.map((layer) => fetchBlob(layer, true)));
    const config = (await this.#json(manifest.config.digest)) as ImageConfig;
    if (config.os !== "linux" || config.architecture !== this.#options.architecture) {
      const offered = `${config.os}/${config.architecture}`;
      const wanted = `linux/${this.#options.architecture}`;
      throw new RuntimeError(
        { code: "RUNTIME_PLATFORM_MISSING", ref: ref.full, wanted, offered: [offered] },
        `${ref.full} is for ${offered}, this machine is ${wanted}`,
      );
    }
    const chainId = await this.#unpack(ref, manifest, config, lease);
    // Labels are what garbage collection follows: record → index → manifest → config → snapshot, and layers.
    await this.#label(manifest.config.digest, { [`containerd.io/gc.ref.snapshot.${snapshotter}`]: chainId });
    const references = Object.fromEntries(
      manifest.layers.map((l, i) => [`containerd.io/gc.ref.content.l.${i}`, l.digest]),
    );
    await this.#put(document, { ...references, "containerd.io/gc.ref.content.config": manifest.config.digest }, lease);
    if (document !== root)
      await this.#put(root, { "containerd.io/gc.ref.content.m.0": document.descriptor.digest }, lease);
    const image = { name: ref.full, labels: {}, target: { ...root.descriptor, annotations: {} } };
    if ((await unless(this.#connection.unary(ImagesService.create, { image }), "RUNTIME_ALREADY_EXISTS")) === undefined)
      await this.#connection.unary(ImagesService.update, { image, updateMask: undefined });
  }

  async #unpack(ref: Reference, manifest: Manifest, config: ImageConfig, lease: string): Promise<string> {
    const chain = chainIds(config.rootfs.diff_ids);
    if (chain.length !== manifest.layers.length || chain.length === 0)
      throw new RuntimeError(
        { code: "RUNTIME_IMAGE_INVALID", ref: ref.full },
        `${ref.full} has ${manifest.layers.length} layers and ${chain.length} digests of them`,
      );
    let parent = "";
    for (const [i, name] of chain.entries()) {
      const under = parent;
      await this.#queue.run(name, async () => {
        const there = this.#connection.unary(SnapshotsService.stat, { snapshotter, key: name });
        if ((await unless(there, "RUNTIME_NOT_FOUND")) !== undefined) return;
        const [layer, diffId] = [manifest.layers[i], config.rootfs.diff_ids[i]];
        assert(layer !== undefined && diffId !== undefined, "as many layers as names of them");
        await this.#applyLayer(layer, diffId, name, under, lease);
      });
      parent = name;
    }
    return parent;
  }

  async #applyLayer(layer: Descriptor, diffId: string, name: string, parent: string, lease: string): Promise<void> {
    const key = `extract-${newId(this.#random)} ${name}`;
    const { mounts } = await this.#connection.unary(
      SnapshotsService.prepare,
      { snapshotter, key, parent, labels: {} },
      { lease },
    );
    try {
      const { mediaType, digest, size } = layer;
      const { applied } = await this.#connection.unary(DiffService.apply, {
        diff: { mediaType, digest, size, annotations: {} },
        mounts,
      });
      if (applied?.digest !== diffId) throw mismatch(diffId, applied?.digest ?? "nothing");
      // Another pull may have committed the same layer meanwhile; ours is then dropped.
      const commit = this.#connection.unary(SnapshotsService.commit, { snapshotter, name, key, labels: {} }, { lease });
      if ((await unless(commit, "RUNTIME_ALREADY_EXISTS")) !== undefined) return;
    } catch (error) {
      await unless(this.#connection.unary(SnapshotsService.remove, { snapshotter, key }), "RUNTIME_NOT_FOUND");
      throw error;
    }
    await unless(this.#connection.unary(SnapshotsService.remove, { snapshotter, key }), "RUNTIME_NOT_FOUND");
  }

  #blob(registry: Registry, descriptor: Descriptor, lease: string, signal?: AbortSignal): Promise<void> {
    return this.#queue.run(descriptor.digest, () =>
      this.#write(descriptor, lease, {}, (offset) => registry.blob(descriptor.digest, offset, signal)),
    );
  }

  async #put({ descriptor, bytes }: Document, labels: Record<string, string>, lease: string): Promise<void> {
    await this.#write(descriptor, lease, labels, (offset) => [bytes.subarray(offset)]);
    await this.#label(descriptor.digest, labels);
  }

  /** Writes what `source` gives from the offset that an earlier try reached; the store checks the digest. */
  async #write(
    { digest, size }: Descriptor,
    lease: string,
    labels: Record<string, string>,
    source: (offset: number) => Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const ref = `warren-${digest}`;
    const stream = new WriteStream(this.#connection, lease);
    try {
      const opened = await unless(
        stream.ask({ ...emptyWrite, action: WriteAction.STAT, ref, total: size, expected: digest }),
        "RUNTIME_ALREADY_EXISTS",
      );
      if (opened === undefined) return;
      let { offset } = opened;
      // All of it may be there and not committed: by a try that was killed, or another namespace of this containerd.
      const pieces = offset === size ? [] : source(offset);
      for await (const piece of pieces) {
        for (let at = 0; at < piece.length; at += chunkBytes) {
          const data = Buffer.from(piece.subarray(at, at + chunkBytes));
          ({ offset } = await stream.ask({ ...emptyWrite, action: WriteAction.WRITE, ref, offset, data }));
        }
      }
      if (offset !== size) throw mismatch(digest, `${offset} of ${size} bytes`);
      await unless(
        stream.ask({ ...emptyWrite, action: WriteAction.COMMIT, ref, offset, total: size, expected: digest, labels }),
        "RUNTIME_ALREADY_EXISTS",
      );
    } catch (error) {
      // What containerd refuses at commit is not what was asked for: no later try may build on it.
      const wrong = RuntimeError.is(error, "RUNTIME_FAILED") && /unexpected commit digest/.test(error.message);
      if (!wrong && !RuntimeError.is(error, "RUNTIME_DIGEST_MISMATCH")) throw error;
      stream.close();
      await unless(this.#connection.unary(ContentService.abort, { ref }), "RUNTIME_NOT_FOUND");
      throw wrong ? mismatch(digest, /digest (sha256:[0-9a-f]+)/.exec(error.message)?.[1] ?? "something else") : error;
    } finally {
      stream.close();
    }
  }

  async #label(digest: string, labels: Record<string, string>): Promise<void> {
    const updateMask = Object.keys(labels).map((key) => `labels.${key}`);
    await this.#connection.unary(ContentService.update, { info: { digest, size: 0, labels }, updateMask });
  }

  async #json(digest: string): Promise<unknown> {
    const parts: Uint8Array[] = [];
    for await (const { data } of this.#connection.serverStream(ContentService.read, { digest, offset: 0, size: 0 }))
      parts.push(data);
    return JSON.parse(Buffer.concat(parts).toString());
  }
}

const emptyWrite: WriteContentRequest = {
  action: WriteAction.STAT,
  ref: "",
  total: 0,
  expected: "",
  offset: 0,
  data: Buffer.alloc(0),
  labels: {},
};

/** `Content.Write`, a question and its answer at a time, so that memory holds one chunk. */
class WriteStream {
  readonly #call;
  readonly #failure: Promise<never>;

  constructor(connection: Connection, lease: string) {
    this.#call = connection.duplex(ContentService.write, { lease });
    this.#failure = once(this.#call, "error").then(([error]) => {
      throw fromGrpc(error as ServiceError);
    });
    this.#failure.catch(() => undefined); // each `ask` races it; one that fails between two is seen by the next
  }

  ask(request: WriteContentRequest): Promise<WriteContentResponse> {
    const answer = new Promise<WriteContentResponse>((resolve) => this.#call.once("data", resolve));
    this.#call.write(request);
    return Promise.race([answer, this.#failure]);
  }

  close(): void {
    this.#call.end();
    this.#call.cancel();
  }
}

function parse({ bytes }: Document): unknown {
  return JSON.parse(new TextDecoder().decode(bytes));
}

/** Whether a registry could not serve, as opposed to would not: what is here then does. */
function isAway(error: unknown): boolean {
  if (RuntimeError.is(error, "RUNTIME_REGISTRY_UNREACHABLE")) return true;
  const failure = error instanceof RuntimeError ? error.failure : undefined;
  return failure?.code === "RUNTIME_REGISTRY_REFUSED" && (failure.status >= 500 || failure.status === tooManyRequests);
}

/** Each layer's name: the digest of all up to it (OCI image spec, "layer chain id"). */
export function chainIds(diffIds: readonly string[]): string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const parent = chain.at(-1);
    chain.push(parent === undefined ? diffId : digestOf(`${parent} ${diffId}`));
  }
  return chain;
}
