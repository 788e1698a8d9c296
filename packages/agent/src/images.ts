import type { Version } from "@warren/api";
import {
  parseReference,
  pinReference,
  RuntimeError,
  type Image,
  type ImageConfig,
  type PullProgress,
  type RegistryAuth,
  type Runtime,
} from "@warren/runtime";
import { abortable, type Clock, type Logger, type Timer } from "@warren/std";

/** Image configurations that are cached. */
const rememberedConfigs = 256;

export type OnProgress = (progress: PullProgress) => void;

interface Pull {
  readonly image: Promise<Image>;
  readonly abort: AbortController;
  /** One for each that waits. */
  readonly waiters: Set<OnProgress>;
}

/**
 * Images of this node. Concurrent pulls of one image are one pull; an image that no assigned version has used for the
 * grace is removed. Collection starts when a lease or run ends, and again when the grace is over.
 */
export class Images {
  readonly #runtime: Pick<Runtime, "pull" | "inspectImage" | "images" | "removeUnusedImages">;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #graceMs: number;
  /** Versions that are assigned. */
  readonly #inUse: () => Iterable<Version>;
  readonly #removeEnded: (signal: AbortSignal) => Promise<number>;
  /** Configurations by digest, in the order of their reading. */
  readonly #configs = new Map<string, ImageConfig>();
  readonly #pulls = new Map<string, Pull>();
  /** By full reference: when a collection first found the image unused, in monotonic time. */
  readonly #unusedSince = new Map<string, number>();
  #timer: Timer | undefined;
  #collecting: Promise<void> = Promise.resolve();

  constructor(
    dependencies: {
      readonly runtime: Pick<Runtime, "pull" | "inspectImage" | "images" | "removeUnusedImages">;
      readonly clock: Clock;
      readonly log: Logger;
    },
    graceMs: number,
    inUse: () => Iterable<Version>,
    removeEnded: (signal: AbortSignal) => Promise<number>,
  ) {
    this.#runtime = dependencies.runtime;
    this.#clock = dependencies.clock;
    this.#log = dependencies.log;
    this.#graceMs = graceMs;
    this.#inUse = inUse;
    this.#removeEnded = removeEnded;
  }

  /**
   * The image of a version. An image with the version's digest that is on this node is used without its registry; the
   * registry resolves the reference only if the version has no digest yet.
   *
   * @param digest the version's image digest; empty: not known yet
   */
  async obtain(
    ref: string,
    digest: string,
    auth: RegistryAuth | undefined,
    signal: AbortSignal,
    onProgress: OnProgress = () => undefined,
  ): Promise<Image> {
    return this.pull(digest === "" ? ref : pinReference(parseReference(ref), digest), auth, signal, onProgress);
  }

  /** The configuration of an image that is on this node. */
  async configOf(ref: string): Promise<ImageConfig> {
    const { digest } = parseReference(ref);
    const known = digest === undefined ? undefined : this.#configs.get(digest);
    if (known !== undefined) return known;
    const image = await this.#runtime.inspectImage(ref);
    // Only a digest always names the same image.
    if (digest !== undefined) this.#configs.set(digest, image.config);
    const [oldest] = this.#configs.keys();
    if (this.#configs.size > rememberedConfigs && oldest !== undefined) this.#configs.delete(oldest);
    return image.config;
  }

  /** Pulls an image. */
  pull(
    ref: string,
    auth: RegistryAuth | undefined,
    signal: AbortSignal,
    onProgress: OnProgress = () => undefined,
  ): Promise<Image> {
    return this.withRoom(signal, () => this.#pullOnce(ref, auth, signal, onProgress));
  }

  /**
   * Runs `work`, which needs room on the runtime's disk. If the disk is full, removes ended containers that are kept
   * for their logs, and unused images, and tries once more.
   */
  async withRoom<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!RuntimeError.is(error, "RUNTIME_DISK_FULL")) throw error;
      const containers = await this.#removeEnded(signal);
      const { length: images } = await this.#removeUnused(0);
      this.#log.warn("the disk was full: removed what was kept for its log, or unused", { containers, images });
      if (containers + images === 0) throw error;
      return work();
    }
  }

  /** Removes what no task uses now, however long it has been so. */
  prune(): Promise<readonly Image[]> {
    return this.#removeUnused(0);
  }

  /** Call when a task that used an image is gone: collects now, and again when the grace of unused images is over. */
  released(signal: AbortSignal): void {
    if (signal.aborted) return;
    // One after the other; a failure is logged, and the next event tries again.
    this.#collecting = this.#collecting.then(() => this.#collect(signal));
  }

  async #collect(signal: AbortSignal): Promise<void> {
    try {
      signal.throwIfAborted();
      await this.#removeUnused(this.#graceMs);
      const oldest = Math.min(...this.#unusedSince.values());
      this.#timer?.cancel();
      this.#timer = undefined;
      if (Number.isFinite(oldest) && !signal.aborted) this.#lookAgain(oldest + this.#graceMs, signal);
    } catch (error) {
      if (!signal.aborted) this.#log.warn("unused images could not be removed", { error });
    }
  }

  #lookAgain(atMs: number, signal: AbortSignal): void {
    const timer = this.#clock.setTimeout(
      () => {
        this.#timer?.cancel();
        this.released(signal);
      },
      Math.max(0, atMs - this.#clock.monotonic()),
    );
    const stop = (): void => timer.cancel();
    signal.addEventListener("abort", stop, { once: true });
    this.#timer = {
      cancel() {
        timer.cancel();
        signal.removeEventListener("abort", stop);
      },
    };
  }

  /** Removes images that were unused for `graceMs`; resolves with them. */
  async #removeUnused(graceMs: number): Promise<readonly Image[]> {
    const now = this.#clock.monotonic();
    const versions = [...this.#inUse()];
    const digests = new Set(versions.map(({ imageDigest }) => imageDigest));
    const present = await this.#runtime.images();
    const refs = new Set(present.map(({ ref }) => ref));
    const used = new Set([
      ...[...versions.map(({ task }) => task?.container?.image ?? ""), ...this.#pulls.keys()].map(fullReference),
      ...present.filter(({ digest }) => digests.has(digest)).map(({ ref }) => ref),
    ]);
    for (const ref of this.#unusedSince.keys()) if (used.has(ref) || !refs.has(ref)) this.#unusedSince.delete(ref);
    for (const ref of refs) if (!used.has(ref) && !this.#unusedSince.has(ref)) this.#unusedSince.set(ref, now);
    const due = [...this.#unusedSince].filter(([, since]) => now - since >= graceMs).map(([ref]) => ref);
    if (due.length === 0) return [];
    const keep = new Set([...refs, ...used].filter((ref) => !due.includes(ref)));
    const removed = await this.#runtime.removeUnusedImages(keep);
    // An image that the runtime does not remove gets a new grace, so that it is not tried again at once.
    for (const ref of due) this.#unusedSince.delete(ref);
    if (removed.length > 0) this.#log.info("removed unused images", { images: removed.map(({ ref }) => ref) });
    return removed;
  }

  async #pullOnce(
    ref: string,
    auth: RegistryAuth | undefined,
    signal: AbortSignal,
    onProgress: OnProgress,
  ): Promise<Image> {
    // Of its own, though two may have given the same function.
    const waiter: OnProgress = (progress) => onProgress(progress);
    const key = auth === undefined ? ref : `${ref} ${auth.username} ${auth.password}`;
    const pull = this.#pulls.get(key) ?? this.#begin(key, ref, auth);
    pull.waiters.add(waiter);
    try {
      return await abortable(pull.image, signal);
    } finally {
      pull.waiters.delete(waiter);
      if (pull.waiters.size === 0) {
        // This pull is over or being aborted; a later call begins another.
        if (this.#pulls.get(key) === pull) this.#pulls.delete(key);
        pull.abort.abort(new DOMException("no task waits for the image any more", "AbortError"));
      }
    }
  }

  #begin(key: string, ref: string, auth: RegistryAuth | undefined): Pull {
    const abort = new AbortController();
    const waiters = new Set<OnProgress>();
    const onProgress: OnProgress = (progress) => {
      for (const waiter of waiters) waiter(progress);
    };
    const image = this.#runtime.pull(ref, { signal: abort.signal, onProgress, ...(auth !== undefined && { auth }) });
    const pull: Pull = { image, abort, waiters };
    this.#pulls.set(key, pull);
    const forget = (): void => {
      if (this.#pulls.get(key) === pull) this.#pulls.delete(key);
    };
    // A failure reaches the waiters through `image`.
    image.then(forget, forget);
    return pull;
  }
}

/** The full reference in a pull's key; one that can't be parsed is returned as it is. */
function fullReference(key: string): string {
  const [ref = ""] = key.split(" ");
  try {
    return parseReference(ref).full;
  } catch {
    return ref;
  }
}
