import { assert, newId, type Clock, type Logger, type Random } from "@warren/std";
import {
  RuntimeError,
  parseReference,
  pinReference,
  type Image,
  type ImageConfig,
  type ImageSource,
  type LocalImage,
  type Platform,
  type PullOptions,
  type RegistryAuth,
  type PulledImage,
  type Reference,
  type ResolveOptions,
  type ResolvedImage,
} from "@warren/runtime";
import { unless, type Connection } from "./connection.ts";
import { ContentStore } from "./content-store.ts";
import { DiffService } from "./generated/containerd/diff.ts";
import { ImagesService, type Image as ImageRecord } from "./generated/containerd/images.ts";
import { SnapshotsService } from "./generated/containerd/snapshots.ts";
import { parseConfig, parseDocument, type Descriptor } from "./image-documents.ts";
import { resolveReference, type ResolvedDocuments } from "./image-resolution.ts";
import { KeyedQueue, inParallel } from "./keyed-queue.ts";
import { Leases } from "./leases.ts";
import { checkLogin, Registry, digestOf, mismatch, type Document } from "./registry.ts";

export const snapshotter = "overlayfs";

/** What a container is made from. */
export interface UnpackedImage {
  readonly ref: string;
  readonly config: ImageConfig;
  /** The snapshot that holds the image's root. */
  readonly chainId: string;
}

interface KnownImage extends Omit<UnpackedImage, "ref"> {
  readonly platform: Platform;
  readonly sizeBytes: number;
}

/** On an image's record: the digest of its manifest for this machine. */
const manifestLabel = "warren.manifest";
/** Layers of one image that are brought at a time, as with Docker. */
const downloadsAtOnce = 3;
/** Images' configurations that are remembered; a container's start then asks for one thing less. */
const rememberedImages = 256;

export interface ImageStoreDependencies {
  readonly connection: Connection;
  readonly random: Random;
  readonly clock: Clock;
  readonly fetch: typeof fetch;
  readonly log: Logger;
}

export interface ImageStoreOptions {
  readonly platform: Platform;
  readonly mirrors: Readonly<Record<string, readonly string[]>>;
}

/** The chunks of a blob from `offset` on. @param here is called with how much of the blob has come */
async function* counted(
  chunks: AsyncIterable<Uint8Array>,
  offset: number,
  here: (bytes: number) => void,
): AsyncGenerator<Uint8Array, void, void> {
  let bytes = offset;
  for await (const chunk of chunks) {
    here((bytes += chunk.length));
    yield chunk;
  }
}

/**
 * Images in containerd: brought from registries, kept under leases until their record refers to them, unpacked.
 *
 * P1 One pull of a name at a time, one download of a blob from one registry, one unpacking of a layer: the others find
 *    it done. A registry is never waited for on another's behalf.
 * P2 What a pull finds and builds on is taken into its lease first and looked at again then, so that a removal
 *    meanwhile never takes it away.
 * P3 A name that a pull has given out is not removed by a removal that began before.
 */
export class ImageStore {
  readonly #dependencies: ImageStoreDependencies;
  readonly #connection: Connection;
  readonly #content: ContentStore;
  readonly #leases: Leases;
  readonly #options: ImageStoreOptions;
  readonly #queue = new KeyedQueue();
  /** P3: names that were pulled since each removal that goes on began. */
  readonly #removals = new Set<Set<string>>();
  readonly #known = new Map<string, KnownImage>();

  constructor(dependencies: ImageStoreDependencies, options: ImageStoreOptions) {
    this.#dependencies = dependencies;
    this.#connection = dependencies.connection;
    this.#content = new ContentStore(dependencies.connection);
    this.#leases = new Leases(dependencies.connection, dependencies.random, dependencies.clock);
    this.#options = options;
  }

  async resolve(ref: string, options: ResolveOptions): Promise<ResolvedImage> {
    options.signal?.throwIfAborted();
    const reference = parseReference(ref);
    const present = (await this.#record(reference.full)) ?? (await this.#sameContent(reference));
    if (present !== undefined && reference.digest !== undefined)
      return this.#resolvedHere(reference, present, { kind: "local" });
    try {
      const registry = this.#registry(reference, options);
      const root = await registry.manifest(reference.selector, options.signal);
      const { digest } = root.descriptor;
      const { platform } = this.#options;
      const { documents, platforms } = await resolveReference(registry, reference, root, platform, options.signal);
      return {
        ref: reference.full,
        digest,
        pinned: pinReference(reference, digest),
        source: { kind: "registry" },
        platforms,
        config: documents instanceof RuntimeError ? undefined : documents.config.description.config,
      };
    } catch (error) {
      const here = present ?? (await this.#pinnedUnder(reference));
      if (here === undefined) throw error;
      return this.#resolvedHere(reference, here, this.#insteadOf(reference, error));
    }
  }

  checkLogin(registry: string, auth: RegistryAuth, signal?: AbortSignal): Promise<boolean> {
    const { fetch: fetcher, clock } = this.#dependencies;
    return checkLogin(registry, auth, { fetch: fetcher, clock }, signal);
  }

  async pull(ref: string, options: PullOptions): Promise<PulledImage> {
    const reference = parseReference(ref);
    const { signal } = options;
    signal?.throwIfAborted();
    // P3
    for (const pulled of this.#removals) pulled.add(reference.full);
    return this.#queue.run(`name ${reference.full}`, () => this.#pull(reference, options), signal);
  }

  async #pull(reference: Reference, options: PullOptions): Promise<PulledImage> {
    const present =
      (await this.#record(reference.full)) ?? (await this.#adopt(reference, await this.#sameContent(reference)));
    // A digest names one thing for ever: what is here is it.
    if (present !== undefined && reference.digest !== undefined) return { ...present, source: { kind: "local" } };
    try {
      const image = await this.#bring(reference, present, options);
      return { ...image, source: { kind: "registry" } };
    } catch (error) {
      options.signal?.throwIfAborted();
      const here = present ?? (await this.#adopt(reference, await this.#pinnedUnder(reference)));
      if (here === undefined) throw error;
      return { ...here, source: this.#insteadOf(reference, error) };
    }
  }

  /** What is here, where a registry failed. @throws unknown `error`, where it is no failure of a registry */
  #insteadOf(reference: Reference, error: unknown): ImageSource {
    if (!(error instanceof RuntimeError && error.fromRegistry)) throw error;
    this.#dependencies.log.warn("an image that is here is used, since the registry does not give it", {
      ref: reference.full,
      error,
    });
    return { kind: "local", because: error };
  }

  async #bring(reference: Reference, present: Image | undefined, options: PullOptions): Promise<Image> {
    const registry = this.#registry(reference, options);
    const root = await registry.manifest(reference.selector, options.signal);
    const { digest } = root.descriptor;
    if (present?.digest === digest) return present;
    const { documents } = await resolveReference(registry, reference, root, this.#options.platform, options.signal);
    if (documents instanceof RuntimeError) throw documents;
    return this.#leases.hold(purposeOf(reference), async (lease) => {
      await this.#bringLayers(reference, registry, documents, lease, options);
      await this.#store(reference.full, documents, lease, options.signal);
      return { ref: reference.full, digest };
    });
  }

  #registry(reference: Reference, { auth }: ResolveOptions): Registry {
    const { fetch: fetcher, clock, log } = this.#dependencies;
    const mirrors = this.#options.mirrors[reference.registry] ?? [];
    return new Registry(reference, { auth, fetch: fetcher, clock, log, mirrors });
  }

  /** Removes images that `keep` does not name. @param users the names of images that containers use */
  async removeUnused(keep: ReadonlySet<string>, users: () => Promise<readonly string[]>): Promise<Image[]> {
    const kept = new Set([...keep].map((ref) => parseReference(ref).full));
    const pulled = new Set<string>();
    this.#removals.add(pulled);
    try {
      const used = new Set(await users());
      const isUnused = ({ ref }: Image): boolean => !kept.has(ref) && !used.has(ref) && !pulled.has(ref);
      const unused = (await this.list()).filter(isUnused);
      const removed: Image[] = [];
      for (const [i, image] of unused.entries()) {
        // A name whose pull goes on is in use, and is not waited for.
        if (!isUnused(image) || this.#queue.has(`name ${image.ref}`)) continue;
        // With the last of them containerd collects what only they referred to, before it answers.
        const request = { name: image.ref, sync: i === unused.length - 1 };
        await this.#queue.run(`name ${image.ref}`, async () => {
          if (!isUnused(image)) return;
          await unless(this.#connection.unary(ImagesService.delete, request), "RUNTIME_NOT_FOUND");
          removed.push(image);
        });
      }
      return removed;
    } finally {
      this.#removals.delete(pulled);
    }
  }

  /** Removes all, with what broken pulls brought. */
  async purge(): Promise<void> {
    await this.#leases.endAll();
    await this.removeUnused(new Set(), () => Promise.resolve([]));
    this.#known.clear();
  }

  async list(): Promise<Image[]> {
    const { images } = await this.#connection.unary(ImagesService.list, { filters: [] });
    return images.map(({ name, target }) => ({ ref: name, digest: target?.digest ?? "" }));
  }

  async inspect(ref: string): Promise<LocalImage> {
    const { full } = parseReference(ref);
    const { image, known } = await this.#here(full);
    return { ...image, platform: known.platform, config: known.config, sizeBytes: known.sizeBytes };
  }

  /** @throws RuntimeError `RUNTIME_IMAGE_NOT_FOUND` where it was not pulled */
  async get(ref: string): Promise<UnpackedImage> {
    const { full } = parseReference(ref);
    const { known } = await this.#here(full);
    return { ref: full, config: known.config, chainId: known.chainId };
  }

  async #here(full: string): Promise<{ readonly image: Image; readonly known: KnownImage }> {
    const found = await unless(this.#connection.unary(ImagesService.get, { name: full }), "RUNTIME_NOT_FOUND");
    const { target, labels = {} } = found?.image ?? {};
    const manifest = labels[manifestLabel];
    if (target === undefined || manifest === undefined)
      throw new RuntimeError(
        { code: "RUNTIME_IMAGE_NOT_FOUND", ref: full },
        `${full} is not on this machine: pull it first`,
      );
    const known = this.#known.get(manifest) ?? (await this.#read(full, manifest));
    return { image: { ref: full, digest: target.digest }, known };
  }

  /** An image's configuration, from containerd's store. */
  async #read(full: string, manifestDigest: string): Promise<KnownImage> {
    const { manifest } = manifestOf(parseDocument(full, await this.#content.read(manifestDigest)));
    const description = parseConfig(full, await this.#content.read(manifest.config.digest));
    const { config, diffIds, platform = this.#options.platform } = description;
    const sizeBytes = [manifest.config, ...manifest.layers].reduce((sum, { size }) => sum + size, 0);
    const known = { config, platform, chainId: chainIds(diffIds).at(-1) ?? "", sizeBytes };
    const [oldest] = this.#known.keys();
    if (oldest !== undefined && this.#known.size >= rememberedImages) this.#known.delete(oldest);
    this.#known.set(manifestDigest, known);
    return known;
  }

  async #resolvedHere(reference: Reference, { ref, digest }: Image, source: ImageSource): Promise<ResolvedImage> {
    const { known } = await this.#here(ref);
    return {
      ref: reference.full,
      digest,
      pinned: pinReference(reference, digest),
      source,
      platforms: [known.platform],
      config: known.config,
    };
  }

  async #record(name: string): Promise<Image | undefined> {
    const found = await unless(this.#connection.unary(ImagesService.get, { name }), "RUNTIME_NOT_FOUND");
    // An image without the label is not Warren's, or incomplete.
    if (found?.image?.labels[manifestLabel] === undefined || found.image.target === undefined) return undefined;
    return { ref: name, digest: found.image.target.digest };
  }

  /** What is here of a reference's digest, under whatever name. */
  async #sameContent({ digest }: Reference): Promise<Image | undefined> {
    if (digest === undefined) return undefined;
    const filters = [`target.digest==${JSON.stringify(digest)}`];
    const { images } = await this.#connection.unary(ImagesService.list, { filters });
    const whole = images.find(({ labels }) => labels[manifestLabel] !== undefined);
    return whole && { ref: whole.name, digest };
  }

  /** What a tag meant when it was last settled: the newest here of its name with a digest, as versions name their images. */
  async #pinnedUnder({ full, digest }: Reference): Promise<Image | undefined> {
    if (digest !== undefined) return undefined;
    const { images } = await this.#connection.unary(ImagesService.list, { filters: [] });
    const [newest] = images
      .filter(({ name, labels }) => name.startsWith(`${full}@`) && labels[manifestLabel] !== undefined)
      .toSorted((a, b) => madeAt(b) - madeAt(a));
    return newest?.target === undefined ? undefined : { ref: newest.name, digest: newest.target.digest };
  }

  /** Gives `same`, an image that is here, the reference's name too. */
  async #adopt(reference: Reference, same: Image | undefined): Promise<Image | undefined> {
    if (same === undefined) return undefined;
    return this.#leases.hold(purposeOf(reference), async (lease) => {
      // P2: the lease holds it first, with all that it refers to; then it is looked at.
      await this.#leases.keep(lease, "content", same.digest);
      const other = await unless(this.#connection.unary(ImagesService.get, { name: same.ref }), "RUNTIME_NOT_FOUND");
      if (other?.image === undefined || !(await this.#content.has(same.digest))) return undefined;
      await this.#putRecord({ ...other.image, name: reference.full });
      return { ref: reference.full, digest: same.digest };
    });
  }

  async #bringLayers(
    reference: Reference,
    registry: Registry,
    { manifest }: ResolvedDocuments,
    lease: string,
    { signal, onProgress }: PullOptions,
  ): Promise<void> {
    const totalBytes = manifest.layers.reduce((sum, layer) => sum + layer.size, 0);
    const done = manifest.layers.map(() => 0);
    await inParallel([...manifest.layers.entries()], downloadsAtOnce, async ([i, layer]) => {
      const here = (bytes: number): void => {
        done[i] = bytes;
        onProgress?.({ doneBytes: done.reduce((sum, each) => sum + each, 0), totalBytes });
      };
      await this.#layer(reference, registry, layer, lease, here, signal);
      here(layer.size);
    });
  }

  async #layer(
    { registry: host }: Reference,
    registry: Registry,
    layer: Descriptor,
    lease: string,
    here: (bytes: number) => void,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    // P1: by registry, so that one registry never delays another.
    const write = async (from: "anywhere" | "registry"): Promise<void> =>
      this.#content.write(layer, host, lease, {}, (offset) =>
        counted(registry.blob(layer, offset, signal, from), offset, here),
      );
    await this.#queue.run(
      `blob ${host} ${layer.digest}`,
      async () => {
        try {
          await write("anywhere");
        } catch (error) {
          // A mirror that sends something else is no reason to fail.
          if (!registry.hasMirrors || !RuntimeError.is(error, "RUNTIME_DIGEST_MISMATCH")) throw error;
          await write("registry");
        }
      },
      signal,
    );
  }

  /** Unpacks what was brought and makes the record. */
  async #store(
    full: string,
    { root, path, manifest, config }: ResolvedDocuments,
    lease: string,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const chainId = await this.#unpack(manifest.layers, config.description.diffIds, lease, signal);
    // Labels are what garbage collection follows: record → index → manifest → config → snapshot, and layers.
    const { digest, size } = config.descriptor;
    const toSnapshot = { [`containerd.io/gc.ref.snapshot.${snapshotter}`]: chainId };
    await this.#put({ digest, size }, config.bytes, toSnapshot, lease);
    const layers = manifest.layers.map((l, i) => [`containerd.io/gc.ref.content.l.${i}`, l.digest]);
    const labels = { ...Object.fromEntries(layers), "containerd.io/gc.ref.content.config": digest };
    for (const [i, document] of [...path.entries()].toReversed()) {
      const next = path[i + 1]?.descriptor.digest;
      const down = next === undefined ? labels : { "containerd.io/gc.ref.content.m.0": next };
      await this.#put(document.descriptor, document.bytes, down, lease);
    }
    const image = {
      name: full,
      labels: { [manifestLabel]: (path.at(-1) ?? root).descriptor.digest },
      target: { ...plain(root), annotations: {} },
      createdAt: undefined,
    };
    signal?.throwIfAborted();
    await this.#putRecord(image);
  }

  async #putRecord(image: ImageRecord): Promise<void> {
    const made = await unless(this.#connection.unary(ImagesService.create, { image }), "RUNTIME_ALREADY_EXISTS");
    if (made === undefined) await this.#connection.unary(ImagesService.update, { image, updateMask: undefined });
  }

  async #put(
    descriptor: Pick<Descriptor, "digest" | "size">,
    bytes: Uint8Array,
    labels: Readonly<Record<string, string>>,
    lease: string,
  ): Promise<void> {
    await this.#content.write(descriptor, "document", lease, labels, (offset) => [bytes.subarray(offset)]);
    await this.#content.label(descriptor.digest, labels);
  }

  async #unpack(
    layers: readonly Descriptor[],
    diffIds: readonly string[],
    lease: string,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    const chain = chainIds(diffIds);
    let there = chain.length;
    for (; there > 0; there -= 1) if (await this.#keepSnapshot(chain[there - 1] ?? "", lease)) break;
    for (const [i, name] of chain.entries()) {
      if (i < there) continue;
      await this.#queue.run(
        `unpack ${name}`,
        async () => {
          if (await this.#keepSnapshot(name, lease)) return;
          const [layer, diffId] = [layers[i], diffIds[i]];
          assert(layer !== undefined && diffId !== undefined, "as many layers as names of them");
          await this.#applyLayer(layer, diffId, name, chain[i - 1] ?? "", lease, signal);
        },
        signal,
      );
    }
    return chain.at(-1) ?? "";
  }

  /** Whether a snapshot is there, and then stays as long as the lease (P2). */
  async #keepSnapshot(key: string, lease: string): Promise<boolean> {
    const isThere = async (): Promise<boolean> =>
      (await unless(this.#connection.unary(SnapshotsService.stat, { snapshotter, key }), "RUNTIME_NOT_FOUND")) !==
      undefined;
    if (!(await isThere())) return false;
    await this.#leases.keep(lease, `snapshots/${snapshotter}`, key);
    return isThere();
  }

  async #applyLayer(
    { mediaType, digest, size }: Descriptor,
    diffId: string,
    name: string,
    parent: string,
    lease: string,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const key = `extract-${newId(this.#dependencies.random)} ${name}`;
    const { mounts } = await this.#connection.unary(
      SnapshotsService.prepare,
      { snapshotter, key, parent, labels: {} },
      { lease },
    );
    try {
      const diff = { mediaType, digest, size, annotations: {} };
      const { applied } = await this.#connection.unary(DiffService.apply, { diff, mounts }, { signal });
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
}

/** When containerd made a record, s. */
function madeAt({ createdAt }: ImageRecord): number {
  return createdAt === undefined ? 0 : createdAt.seconds + createdAt.nanos / 1e9;
}

/** What a name's lease is called. */
function purposeOf({ full }: Reference): string {
  return `warren-pull-${digestOf(full).slice("sha256:".length)}`;
}

function plain({ descriptor: { mediaType, digest, size } }: Document): Omit<Descriptor, "platform"> {
  return { mediaType, digest, size };
}

function manifestOf(content: Document["content"]): Extract<Document["content"], { readonly kind: "manifest" }> {
  assert(content.kind === "manifest", "the record names a manifest");
  return content;
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
