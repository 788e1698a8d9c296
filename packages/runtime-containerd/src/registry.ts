import { createHash } from "node:crypto";
import { errorText, networkFault, silentLogger, systemClock, type Clock, type Logger } from "@warren/std";
import { parseReference, RuntimeError, type Reference, type RegistryAuth } from "@warren/runtime";
import {
  acceptedTypes,
  documentBytes,
  imageInvalid,
  parseDocument,
  shown,
  type Descriptor,
  type ImageDocument,
} from "./image-documents.ts";
import { parseChallenges, type Challenge } from "./www-authenticate.ts";

/** An index or a manifest, with its bytes. */
export interface Document {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
  readonly content: ImageDocument;
}

/** A blob may be on another host, which may send on. */
const mostRedirects = 5;
/** Longest that a server may take to begin its answer, ms. */
const answerMs = 60_000;
/** Least that has to come… */
const progressBytes = 16 * 1024;
/** …in so long, ms, else the server counts as away. A modem of 9600 baud brings four times this. */
const progressMs = 60_000;
/** Longest that a whole document may take, ms: at least progress would let 4 MiB take four hours. */
const documentMs = 600_000;
/** A token server's answer. */
const tokenBytes = 256 * 1024;
/** As much of a refusal's text is read as has its reason. */
const refusalBytes = 8 * 1024;

export interface RegistryOptions {
  /** For the registry that the reference names; no mirror sees it. */
  readonly auth?: RegistryAuth | undefined;
  readonly fetch?: typeof fetch;
  readonly clock?: Clock;
  readonly log?: Logger;
  /** Asked first, in order. `HOST[:PORT]`, or a URL with a path below which the registry's API is. */
  readonly mirrors?: readonly string[];
}

type Dependencies = Readonly<Required<Pick<RegistryOptions, "fetch" | "clock">>>;

/**
 * The read side of the registry protocol for one repository: manifests and blobs, from its mirrors or itself, with
 * basic and token authentication. HTTPS everywhere but on loopback.
 *
 * R1 What a server sends is a stranger's: every body is read up to its bound and no further, its form is checked, and
 *    one that makes no progress is cut off.
 * R2 A login is shown to the host that it is for, and to the token server that this host names, over a connection as
 *    safe as its own.
 *
 * @throws RuntimeError the registry's own failure, where neither it nor a mirror has what is asked for
 */
export class Registry {
  readonly #ref: Reference;
  readonly #log: Logger;
  readonly #mirrors: readonly Endpoint[];
  readonly #own: Endpoint;

  constructor(ref: Reference, options: RegistryOptions = {}) {
    const { auth, fetch: fetcher = fetch, clock = systemClock, log = silentLogger, mirrors = [] } = options;
    const dependencies = { fetch: fetcher, clock };
    this.#ref = ref;
    this.#log = log;
    this.#mirrors = mirrors.map((mirror) => new Endpoint(ref, originOf(mirror), undefined, dependencies));
    this.#own = new Endpoint(ref, originOf(ref.registry), auth, dependencies);
  }

  get hasMirrors(): boolean {
    return this.#mirrors.length > 0;
  }

  /** The index or manifest of a tag or digest, its form checked, and its digest where it was asked for by one. */
  manifest(selector: string, signal?: AbortSignal): Promise<Document> {
    return this.#first(signal, async (endpoint) => {
      const headers = { accept: acceptedTypes.join(", ") };
      const { bytes, contentType } = await endpoint.document(`/manifests/${selector}`, headers, documentBytes, signal);
      const digest = digestOf(bytes);
      if (selector.startsWith("sha256:") && selector !== digest) throw mismatch(selector, digest);
      const content = parseDocument(this.#ref.full, bytes, contentType);
      return { descriptor: { mediaType: content.mediaType, digest, size: bytes.length }, bytes, content };
    });
  }

  /** A small blob as a whole, its digest and size checked. */
  config({ digest, size }: Descriptor, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#first(signal, async (endpoint) => {
      const { bytes } = await endpoint.document(`/blobs/${digest}`, {}, Math.min(size, documentBytes), signal);
      const actual = digestOf(bytes);
      if (actual !== digest) throw mismatch(digest, actual);
      return bytes;
    });
  }

  /**
   * A blob from `offset` on, and never more than its size. Its digest is for the reader to check, who may have the bytes
   * before. @param from `registry` leaves the mirrors out, as when one sent something else
   */
  async *blob(
    descriptor: Descriptor,
    offset: number,
    signal?: AbortSignal,
    from: "anywhere" | "registry" = "anywhere",
  ): AsyncGenerator<Uint8Array, void, void> {
    let at = offset;
    for (const mirror of from === "anywhere" ? this.#mirrors : []) {
      try {
        for await (const chunk of mirror.blob(descriptor, at, signal)) {
          at += chunk.length;
          yield chunk;
        }
        return;
      } catch (error) {
        // The next goes on from where this one broke off.
        signal?.throwIfAborted();
        this.#log.debug("a mirror does not give a layer", { mirror: mirror.host, error });
      }
    }
    yield* this.#own.blob(descriptor, at, signal);
  }

  async #first<T>(signal: AbortSignal | undefined, ask: (endpoint: Endpoint) => Promise<T>): Promise<T> {
    for (const mirror of this.#mirrors) {
      try {
        return await ask(mirror);
      } catch (error) {
        // A mirror that is away, or lacks it, or sends something else, is no reason to fail.
        signal?.throwIfAborted();
        this.#log.debug("a mirror does not answer for an image", { mirror: mirror.host, ref: this.#ref.full, error });
      }
    }
    return ask(this.#own);
  }
}

/**
 * Asks the base of a registry's API with a login, as a client that logs in does. Resolves with false where the registry
 * asks for none.
 *
 * @throws RuntimeError `RUNTIME_REGISTRY_UNAUTHORIZED` where it is refused
 */
export async function checkLogin(
  registry: string,
  auth: RegistryAuth,
  options: Pick<RegistryOptions, "fetch" | "clock"> = {},
  signal?: AbortSignal,
): Promise<boolean> {
  signal?.throwIfAborted();
  const { fetch: fetcher = fetch, clock = systemClock } = options;
  const name = parseReference(`${registry}/any`).registry;
  const base = { registry: name, repository: "", tag: undefined, digest: undefined, selector: "", full: "its API" };
  const endpoint = new Endpoint(base, originOf(name), auth, { fetch: fetcher, clock });
  return endpoint.asksForLogin(signal);
}

/** One place that speaks the protocol. */
class Endpoint {
  /** As people name it. */
  readonly host: string;
  readonly #ref: Reference;
  readonly #auth: RegistryAuth | undefined;
  readonly #dependencies: Dependencies;
  readonly #base: URL;
  #authorization: string | undefined;

  constructor(ref: Reference, origin: string, auth: RegistryAuth | undefined, dependencies: Dependencies) {
    this.#ref = ref;
    this.#auth = auth;
    this.#dependencies = dependencies;
    this.#base = new URL(`${origin}/v2/${ref.repository}`);
    const { host } = this.#base;
    // Docker's registry is asked at another name than images have.
    this.host = host === dockerHost ? ref.registry : host;
  }

  /** Whether it challenges a request, which is then answered with the login. */
  async asksForLogin(signal?: AbortSignal): Promise<boolean> {
    const answer = await this.#get("", {}, signal);
    answer.drop();
    return this.#authorization !== undefined;
  }

  async document(
    path: string,
    headers: Record<string, string>,
    mostBytes: number,
    signal?: AbortSignal,
  ): Promise<{ readonly bytes: Uint8Array; readonly contentType: string }> {
    const answer = await this.#get(path, headers, signal);
    const contentType = answer.response.headers.get("content-type") ?? "";
    const bytes = await answer.whole(mostBytes);
    if (bytes === undefined) throw imageInvalid(this.#ref.full, `${path} is over ${mostBytes} bytes`);
    return { bytes, contentType };
  }

  async *blob(
    { digest, size }: Descriptor,
    offset: number,
    signal?: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, void> {
    const headers: Record<string, string> = offset === 0 ? {} : { range: `bytes=${offset}-` };
    const answer = await this.#get(`/blobs/${digest}`, headers, signal);
    // A registry that knows no ranges sends the whole.
    let skip = answer.response.status === 206 ? 0 : offset;
    let left = size - offset;
    for await (const chunk of answer.chunks()) {
      const rest = chunk.subarray(Math.min(skip, chunk.length));
      skip -= chunk.length - rest.length;
      if (rest.length > left) throw mismatch(digest, `over ${size} bytes`);
      left -= rest.length;
      if (rest.length > 0) yield rest;
    }
  }

  async #get(path: string, headers: Record<string, string>, signal?: AbortSignal): Promise<Answer> {
    let answer = await this.#send(path, headers, signal);
    if (answer.response.status === 401) {
      const header = answer.response.headers.get("www-authenticate") ?? "";
      const refusal = await this.#refusal(answer, path);
      answer = await this.#logIn(parseChallenges(header), refusal, () => this.#send(path, headers, signal), signal);
    }
    if (answer.response.ok) return answer;
    throw await this.#refusal(answer, path);
  }

  /**
   * Answers the challenges one after the other, tokens first, until one does.
   *
   * @throws RuntimeError the last failure; `refusal` where nothing could be tried
   */
  async #logIn(
    challenges: readonly Challenge[],
    refusal: RuntimeError,
    again: () => Promise<Answer>,
    signal?: AbortSignal,
  ): Promise<Answer> {
    const of = (scheme: string): readonly Challenge[] => challenges.filter((c) => c.scheme === scheme);
    let failure = refusal;
    for (const challenge of [...of("bearer"), ...of("basic")]) {
      try {
        const authorization =
          challenge.scheme === "bearer" ? await this.#bearer(challenge, signal) : basicLogin(this.#auth);
        if (authorization === undefined) continue;
        this.#authorization = authorization;
        const answer = await again();
        if (answer.response.status !== 401) return answer;
        failure = await this.#refusal(answer, "with this login");
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof RuntimeError)) throw error;
        failure = error;
      }
    }
    throw failure;
  }

  async #bearer({ parameters }: Challenge, signal?: AbortSignal): Promise<string> {
    const realm = URL.parse(parameters.get("realm") ?? "");
    // R2
    if (realm === null || !isAsSafe(realm, this.#base))
      throw this.#failed(401, `${this.host} names no token server that can be used: ${shown(parameters.get("realm"))}`);
    const { repository } = this.#ref;
    const scope = parameters.get("scope") ?? (repository === "" ? undefined : `repository:${repository}:pull`);
    if (scope !== undefined) realm.searchParams.set("scope", scope);
    const service = parameters.get("service");
    if (service !== undefined) realm.searchParams.set("service", service);
    const login = basicLogin(this.#auth);
    const answer = await this.#ask(realm, login === undefined ? {} : { authorization: login }, signal);
    if (!answer.response.ok) throw await this.#refusal(answer, "a token", realm.host);
    const token = tokenOf(await answer.whole(tokenBytes));
    if (token === undefined) throw this.#failed(200, `${realm.host}, the token server of ${this.host}, sent no token`);
    return `Bearer ${token}`;
  }

  async #send(path: string, headers: Record<string, string>, signal?: AbortSignal): Promise<Answer> {
    const authorization = this.#authorization === undefined ? {} : { authorization: this.#authorization };
    const own = new URL(this.#base.href + path);
    let url = own;
    for (let hop = 0; hop <= mostRedirects; hop += 1) {
      // R2
      const sent = url.origin === own.origin ? { ...headers, ...authorization } : headers;
      const answer = await this.#ask(url, sent, signal);
      const { status } = answer.response;
      const location = answer.response.headers.get("location");
      if (status < 300 || status >= 400 || location === null) return answer;
      answer.drop();
      const next = URL.parse(location, url);
      if (next === null || !isAsSafe(next, this.#base))
        throw this.#refused(status, `for ${path}, and sent on to ${shown(location)}, which is not safe`);
      url = next;
    }
    throw this.#refused(310, `for ${path}, and sent on in a circle`);
  }

  async #ask(url: URL, headers: Record<string, string>, signal?: AbortSignal): Promise<Answer> {
    const { fetch: fetcher, clock } = this.#dependencies;
    const cut = new AbortController();
    const either = signal === undefined ? cut.signal : AbortSignal.any([signal, cut.signal]);
    const timer = clock.setTimeout(() => cut.abort(new Slow(`no answer in ${answerMs / 1000} s`)), answerMs);
    try {
      // What a server packs would have to be unpacked to know how much it is.
      const all = { "accept-encoding": "identity", ...headers };
      const response = await fetcher(url, { headers: all, redirect: "manual", signal: either });
      return new Answer(response, cut, clock, (error) => {
        signal?.throwIfAborted();
        return this.#unreachable(error, url.host);
      });
    } catch (error) {
      signal?.throwIfAborted();
      throw this.#unreachable(error, url.host);
    } finally {
      timer.cancel();
    }
  }

  /** What an answer that is none means, with what the server says itself. @param at who answered, if another than the registry */
  async #refusal(answer: Answer, asked: string, at?: string): Promise<RuntimeError> {
    const { status, headers } = answer.response;
    const reason = reasonOf(await answer.beginning(refusalBytes));
    const wait = /^\d{1,6}$/.exec(headers.get("retry-after") ?? "")?.[0];
    const { full } = this.#ref;
    const registry = this.host;
    const said = `${reason}${wait === undefined ? "" : `; it asks to wait ${wait} s`}`;
    const server = at === undefined ? registry : `${at}, the token server of ${registry},`;
    if (status === 401 || status === 403) {
      const hint =
        status === 403
          ? "this login, or this address, may not have it"
          : this.#auth === undefined
            ? "it wants a login, or there is no such image"
            : "the login was refused";
      return new RuntimeError(
        { code: "RUNTIME_REGISTRY_UNAUTHORIZED", registry },
        `${server} answers ${status} for ${full}: ${hint}${said}`,
      );
    }
    if (status === 404 && at === undefined)
      return new RuntimeError(
        { code: "RUNTIME_IMAGE_NOT_FOUND", ref: full },
        `${registry} has no ${full} (asked for ${asked}): check its name and tag${said}`,
      );
    return this.#refused(status, `for ${full} (${asked})${said}`, server);
  }

  #refused(status: number, why: string, server: string = this.host): RuntimeError {
    return new RuntimeError(
      { code: "RUNTIME_REGISTRY_REFUSED", registry: this.host, status },
      `${server} answers ${status} ${why}`,
    );
  }

  /** Of an answer that can't be used. */
  #failed(status: number, why: string): RuntimeError {
    return new RuntimeError({ code: "RUNTIME_REGISTRY_REFUSED", registry: this.host, status }, why);
  }

  #unreachable(error: unknown, host: string): RuntimeError {
    return new RuntimeError(
      { code: "RUNTIME_REGISTRY_UNREACHABLE", registry: this.host },
      `${host === dockerHost ? this.host : host} can't be reached: ${faultText(error)}`,
      { cause: error },
    );
  }
}

/** In words, where the fault is known; else as it was said, without what says nothing. */
function faultText(error: unknown): string {
  const codes: string[] = [];
  for (let each = error; each instanceof Error; each = each.cause)
    codes.push((each as NodeJS.ErrnoException).code ?? "", each.message);
  return networkFault(codes.join(" ")) ?? shown(errorText(error).replace(/^fetch failed: /, ""));
}

/** Why a server was cut off. */
class Slow extends Error {}

/** A response whose body is read within bounds (R1). Every one is read to its end or dropped. */
class Answer {
  readonly response: Response;
  readonly #cut: AbortController;
  readonly #clock: Clock;
  readonly #fail: (error: unknown) => RuntimeError;

  constructor(response: Response, cut: AbortController, clock: Clock, fail: (error: unknown) => RuntimeError) {
    this.response = response;
    this.#cut = cut;
    this.#clock = clock;
    this.#fail = fail;
  }

  /** Ends the connection, whatever is still to come. */
  drop(): void {
    this.#cut.abort(new Error("nobody reads on"));
  }

  /** All that comes; time counts only while the server is waited for, and not while the reader works. */
  async *chunks(): AsyncGenerator<Uint8Array, void, void> {
    const reader = (this.response.body as ReadableStream<Uint8Array> | null)?.getReader();
    if (reader === undefined) return;
    let [waitedMs, bytes] = [0, 0];
    try {
      for (;;) {
        const begin = this.#clock.monotonic();
        const slow = new Slow(`under ${progressBytes} bytes came in ${progressMs / 1000} s`);
        const timer = this.#clock.setTimeout(() => this.#cut.abort(slow), progressMs - waitedMs);
        const { done, value } = await reader.read().finally(() => timer.cancel());
        if (done) return;
        waitedMs += this.#clock.monotonic() - begin;
        bytes += value.length;
        if (bytes >= progressBytes) [waitedMs, bytes] = [0, 0];
        yield value;
      }
    } catch (error) {
      throw this.#fail(error);
    } finally {
      this.drop();
    }
  }

  /** The whole body; undefined where it is over `mostBytes`. */
  async whole(mostBytes: number): Promise<Uint8Array | undefined> {
    const slow = new Slow(`it took over ${documentMs / 1000} s`);
    const timer = this.#clock.setTimeout(() => this.#cut.abort(slow), documentMs);
    try {
      const { bytes, more } = await this.#upTo(mostBytes);
      return more ? undefined : bytes;
    } finally {
      timer.cancel();
    }
  }

  /** What it begins with, of an answer that failed anyway. */
  async beginning(mostBytes: number): Promise<Uint8Array> {
    const timer = this.#clock.setTimeout(() => this.drop(), answerMs);
    try {
      return (await this.#upTo(mostBytes)).bytes;
    } catch (error) {
      if (!RuntimeError.is(error, "RUNTIME_REGISTRY_UNREACHABLE")) throw error;
      return new Uint8Array(); // its status says enough
    } finally {
      timer.cancel();
    }
  }

  async #upTo(mostBytes: number): Promise<{ readonly bytes: Uint8Array; readonly more: boolean }> {
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of this.chunks()) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > mostBytes) break;
    }
    return { bytes: Buffer.concat(chunks).subarray(0, mostBytes), more: length > mostBytes };
  }
}

function basicLogin(auth: RegistryAuth | undefined): string | undefined {
  return auth && `Basic ${Buffer.from(`${auth.username}:${auth.password}`).toString("base64")}`;
}

/** The token of a token server's answer; undefined where there is none that a header can hold. */
function tokenOf(bytes: Uint8Array | undefined): string | undefined {
  const answer = jsonOf(bytes);
  const token = answer?.["token"] ?? answer?.["access_token"];
  return typeof token === "string" && /^[\x21-\x7e]+$/.test(token) ? token : undefined;
}

/** `: CODE, message` of the first error in a registry's answer; nothing where it says none. */
function reasonOf(bytes: Uint8Array): string {
  const errors = jsonOf(bytes)?.["errors"];
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  if (typeof first !== "object" || first === null) return "";
  const { code, message } = first as { readonly code?: unknown; readonly message?: unknown };
  const said = [code, message].filter((part) => typeof part === "string" && part !== "");
  return said.length === 0 ? "" : ` (it says: ${said.map(shown).join(", ")})`;
}

function jsonOf(bytes: Uint8Array | undefined): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined; // no JSON: the caller says what that means
  }
}

export function digestOf(bytes: Uint8Array | string): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

export function mismatch(expected: string, actual: string): RuntimeError {
  return new RuntimeError(
    { code: "RUNTIME_DIGEST_MISMATCH", expected, actual },
    `the registry sent ${actual} where ${expected} was asked for`,
  );
}

const dockerHost = "registry-1.docker.io";

/** `HOST[:PORT]` or a URL, as where to ask; without a slash at its end. */
function originOf(registry: string): string {
  if (registry === "docker.io") return `https://${dockerHost}`;
  const given = /^https?:\/\//.test(registry) ? registry : `${isLoopback(registry) ? "http" : "https"}://${registry}`;
  const url = URL.parse(given);
  if (url === null || !isSafe(url))
    throw new RuntimeError(
      { code: "RUNTIME_REFERENCE_INVALID", ref: registry },
      `"${registry}" can't be a registry: plain HTTP is for loopback alone`,
    );
  return url.href.replace(/\/$/, "");
}

function isSafe(url: URL): boolean {
  return url.protocol === "https:" || (url.protocol === "http:" && isLoopback(url.host));
}

/** Whether a host may redirect there: a remote host may not name an address of this machine. */
function isAsSafe(url: URL, from: URL): boolean {
  return url.protocol === "https:"
    ? isLoopback(from.host) || !isLoopback(url.host)
    : isSafe(url) && isLoopback(from.host);
}

function isLoopback(host: string): boolean {
  const name = host.replace(/:\d+$/, "").replace(/\.$/, "");
  return ["localhost", "[::1]", "[::]", "0.0.0.0"].includes(name) || /^127\.\d+\.\d+\.\d+$/.test(name);
}
