import { RuntimeError, type Platform, type Reference } from "@warren/runtime";
import {
  imageInvalid,
  parseConfig,
  shown,
  type Descriptor,
  type ImageDescription,
  type Manifest,
} from "./image-documents.ts";
import { platformRank, showPlatform } from "./platform.ts";
import { mismatch, type Document, type Registry } from "./registry.ts";

/** An image's documents, from what its name means down to the configuration for this machine. */
export interface ResolvedDocuments {
  /** What the name means. */
  readonly root: Document;
  /** Its indexes and its manifest, each naming the next; the first is `root`. */
  readonly path: readonly Document[];
  readonly manifest: Manifest;
  readonly config: {
    readonly descriptor: Descriptor;
    readonly bytes: Uint8Array;
    readonly description: ImageDescription;
  };
}

/** What a reference can run on, and, where that is this machine, the documents of it. */
export interface Resolution {
  readonly platforms: readonly Platform[];
  /** A failure is of the kind "there is none for this machine". */
  readonly documents: ResolvedDocuments | RuntimeError;
}

/** Documents asked for to find one image: an index may name indexes, and entries that say nothing of themselves. */
const mostDocuments = 16;
/** An index in an index in an index… */
const mostLevels = 4;
/** Platforms in an error. */
const mostShown = 20;

/** Docker's mark of what is beside an image (provenance, signatures) and no image itself. */
const nothing: Platform = { os: "unknown", architecture: "unknown" };

/**
 * Finds, in what a reference means, the best that this machine runs: of several variants the highest
 * that fits; before a 32-bit one any of the machine's own; an entry that says nothing of itself only where no other fits.
 *
 * @throws RuntimeError of the registry or the documents; a platform that is missing is in the result
 */
export async function resolveReference(
  registry: Registry,
  reference: Reference,
  root: Document,
  machine: Platform,
  signal?: AbortSignal,
): Promise<Resolution> {
  const search = new Search(registry, reference, machine, signal);
  const documents = await search.below([root]);
  const platforms = [...new Map(search.platforms.map((platform) => [showPlatform(platform), platform])).values()];
  if (documents !== undefined) return { platforms, documents };
  const wanted = showPlatform(machine);
  const names = platforms.map((platform) => shown(showPlatform(platform)));
  const offered = names.slice(0, mostShown);
  const more = names.length > offered.length ? ` and ${names.length - offered.length} more` : "";
  const failure = new RuntimeError(
    { code: "RUNTIME_PLATFORM_MISSING", ref: reference.full, wanted, offered },
    `${reference.full} has no image for ${wanted}, only for ${offered.join(", ") || "nothing at all"}${more}`,
  );
  return { platforms, documents: failure };
}

class Search {
  /** All that was offered on the way. */
  readonly platforms: Platform[] = [];
  readonly #registry: Registry;
  readonly #ref: string;
  readonly #machine: Platform;
  readonly #signal: AbortSignal | undefined;
  #asked = 0;

  constructor(registry: Registry, reference: Reference, machine: Platform, signal: AbortSignal | undefined) {
    this.#registry = registry;
    this.#ref = reference.full;
    this.#machine = machine;
    this.#signal = signal;
  }

  /** The image at or below the last document of `path`; undefined where there is none for this machine. */
  async below(path: readonly Document[]): Promise<ResolvedDocuments | undefined> {
    const last = path.at(-1);
    if (last === undefined) return undefined;
    if (last.content.kind === "manifest") return this.#image(path, last.content.manifest);
    if (path.length > mostLevels) throw imageInvalid(this.#ref, `it is an index in over ${mostLevels} indexes`);
    for (const entry of this.#candidates(last.content.entries)) {
      if ((this.#asked += 1) > mostDocuments)
        throw imageInvalid(this.#ref, `its index names over ${mostDocuments} images that do not say what they are for`);
      const next = await this.#registry.manifest(entry.digest, this.#signal);
      const found = await this.below([...path, next]);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  async #image(path: readonly Document[], manifest: Manifest): Promise<ResolvedDocuments | undefined> {
    const [root] = path;
    if (root === undefined) return undefined;
    const descriptor = manifest.config;
    const bytes = await this.#registry.config(descriptor, this.#signal);
    if (bytes.length !== descriptor.size) throw mismatch(descriptor.digest, `${bytes.length} bytes`);
    const description = parseConfig(this.#ref, bytes);
    const { platform, diffIds } = description;
    if (platform !== undefined) {
      this.platforms.push(platform);
      if (platformRank(this.#machine, platform) === undefined) return undefined;
    }
    if (diffIds.length !== manifest.layers.length)
      throw imageInvalid(this.#ref, `it has ${manifest.layers.length} layers and ${diffIds.length} digests of them`);
    return { root, path, manifest, config: { descriptor, bytes, description } };
  }

  /** The entries that can be for this machine, the best first. */
  #candidates(entries: readonly Descriptor[]): readonly Descriptor[] {
    const ranked: { readonly entry: Descriptor; readonly rank: number }[] = [];
    for (const entry of entries) {
      const { platform } = entry;
      if (platform?.os === nothing.os && platform.architecture === nothing.architecture) continue;
      if (platform === undefined) {
        ranked.push({ entry, rank: Number.MAX_SAFE_INTEGER });
        continue;
      }
      this.platforms.push(platform);
      const rank = platformRank(this.#machine, platform);
      if (rank !== undefined) ranked.push({ entry, rank });
    }
    return ranked.sort((a, b) => a.rank - b.rank).map(({ entry }) => entry);
  }
}
