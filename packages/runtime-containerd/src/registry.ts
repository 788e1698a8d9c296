import { createHash } from "node:crypto";
import { errorText } from "@warren/std";
import { RuntimeError, type Reference, type RegistryAuth } from "@warren/runtime";

/** Something in a registry, named by its content. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: { readonly os: string; readonly architecture: string; readonly variant?: string };
}

export interface Document {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

export const indexTypes: readonly string[] = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
];
const manifestTypes: readonly string[] = [
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
];

/** A manifest is never larger than this; registries refuse more. */
const documentBytes = 4 * 1024 * 1024;
/** A blob may be on another host, which may send on. */
const mostRedirects = 5;

export interface RegistryOptions {
  /** For the registry that the reference names; no mirror sees it. */
  readonly auth?: RegistryAuth | undefined;
  readonly fetch?: typeof fetch;
  /** Asked first, in order. `HOST[:PORT]`, or a URL with a path below which the registry's API is. */
  readonly mirrors?: readonly string[];
}

/**
 * The read side of the registry protocol for one repository: manifests and blobs, from its mirrors or itself, with
 * basic and token authentication. HTTPS everywhere but on loopback.
 *
 * @throws RuntimeError the registry's own failure, where neither it nor a mirror has what is asked for
 */
export class Registry {
  readonly #ref: Reference;
  readonly #endpoints: readonly Endpoint[];

  constructor(ref: Reference, { auth, fetch: fetcher = fetch, mirrors = [] }: RegistryOptions = {}) {
    this.#ref = ref;
    this.#endpoints = [
      ...mirrors.map((mirror) => new Endpoint(ref, originOf(mirror), undefined, fetcher)),
      new Endpoint(ref, originOf(ref.registry), auth, fetcher),
    ];
  }

  /** The index or manifest of a tag or digest, its digest checked where it was asked by one. */
  async manifest(selector: string, signal?: AbortSignal): Promise<Document> {
    const accept = [...indexTypes, ...manifestTypes].join(", ");
    return this.#first(signal, async (endpoint) => {
      const response = await endpoint.get(`/manifests/${selector}`, { accept }, signal);
      return this.#document(selector, response);
    });
  }

  /** A blob from `offset` on. Its digest is for the reader to check, who may have the bytes before. */
  async *blob(digest: string, offset: number, signal?: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
    let at = offset;
    for (const [i, endpoint] of this.#endpoints.entries()) {
      try {
        for await (const chunk of endpoint.blob(digest, at, signal)) {
          at += chunk.length;
          yield chunk;
        }
        return;
      } catch (error) {
        // The next goes on from where this one broke off.
        if (signal?.aborted || i === this.#endpoints.length - 1) throw error;
      }
    }
  }

  async #first<T>(signal: AbortSignal | undefined, ask: (endpoint: Endpoint) => Promise<T>): Promise<T> {
    for (const endpoint of this.#endpoints.slice(0, -1)) {
      try {
        return await ask(endpoint);
      } catch {
        // A mirror that is away, or lacks it, or sends something else, is no reason to fail.
        signal?.throwIfAborted();
      }
    }
    const own = this.#endpoints.at(-1);
    return ask(own as Endpoint);
  }

  async #document(selector: string, response: Response): Promise<Document> {
    const bytes = new Uint8Array(await response.arrayBuffer());
    const invalid = (why: string, cause?: unknown): RuntimeError =>
      new RuntimeError({ code: "RUNTIME_IMAGE_INVALID", ref: this.#ref.full }, `${this.#ref.full}: ${why}`, { cause });
    if (bytes.length > documentBytes) throw invalid("its manifest is over 4 MiB");
    const digest = digestOf(bytes);
    if (selector.startsWith("sha256:") && selector !== digest) throw mismatch(selector, digest);
    let declared: string | undefined;
    try {
      declared = (JSON.parse(new TextDecoder().decode(bytes)) as { mediaType?: string }).mediaType;
    } catch (error) {
      throw invalid("its manifest is no JSON", error);
    }
    const mediaType = declared ?? response.headers.get("content-type")?.split(";")[0]?.trim() ?? "";
    return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
  }
}

/** One place that speaks the protocol. */
class Endpoint {
  readonly #ref: Reference;
  readonly #auth: RegistryAuth | undefined;
  readonly #fetch: typeof fetch;
  readonly #base: string;
  readonly #host: string;
  #authorization: string | undefined;

  constructor(ref: Reference, origin: string, auth: RegistryAuth | undefined, fetcher: typeof fetch) {
    this.#ref = ref;
    this.#auth = auth;
    this.#fetch = fetcher;
    this.#base = `${origin}/v2/${ref.repository}`;
    const { host } = new URL(origin);
    // Docker's registry is asked at another name than images have.
    this.#host = host === dockerHost ? ref.registry : host;
  }

  async *blob(digest: string, offset: number, signal?: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
    const headers: Record<string, string> = offset === 0 ? {} : { range: `bytes=${offset}-` };
    const response = await this.get(`/blobs/${digest}`, headers, signal);
    // A registry that knows no ranges sends the whole.
    let skip = response.status === 206 ? 0 : offset;
    try {
      for await (const chunk of response.body ?? []) {
        const rest = chunk.subarray(Math.min(skip, chunk.length));
        skip -= chunk.length - rest.length;
        if (rest.length > 0) yield rest;
      }
    } catch (error) {
      signal?.throwIfAborted();
      throw this.#unreachable(error);
    }
  }

  async get(path: string, headers: Record<string, string>, signal?: AbortSignal): Promise<Response> {
    let response = await this.#send(path, headers, signal);
    if (response.status === 401) {
      await response.body?.cancel();
      this.#authorization = await this.#authorize(response.headers.get("www-authenticate") ?? "", signal);
      response = await this.#send(path, headers, signal);
    }
    if (response.ok) return response;
    await response.body?.cancel();
    throw this.#refusal(path, response.status);
  }

  async #send(path: string, headers: Record<string, string>, signal?: AbortSignal): Promise<Response> {
    const authorization = this.#authorization === undefined ? {} : { authorization: this.#authorization };
    const own = new URL(this.#base + path);
    let url = own;
    for (let hop = 0; hop <= mostRedirects; hop += 1) {
      // A login is for this host alone.
      const sent = url.origin === own.origin ? { ...headers, ...authorization } : headers;
      const response = await this.#ask(url, sent, signal);
      const location = response.headers.get("location");
      if (response.status < 300 || response.status >= 400 || location === null) return response;
      await response.body?.cancel();
      const next = URL.parse(location, url);
      if (next === null || !isSafe(next)) throw this.#refusal(`${path}, sent on to ${location}`, response.status);
      url = next;
    }
    throw this.#refusal(`${path}, sent on in a circle`, 310);
  }

  async #ask(url: URL, headers: Record<string, string>, signal?: AbortSignal): Promise<Response> {
    try {
      return await this.#fetch(url, { headers, redirect: "manual", signal: signal ?? null });
    } catch (error) {
      signal?.throwIfAborted();
      throw this.#unreachable(error);
    }
  }

  async #authorize(challenge: string, signal?: AbortSignal): Promise<string> {
    const basic =
      this.#auth && `Basic ${Buffer.from(`${this.#auth.username}:${this.#auth.password}`).toString("base64")}`;
    const [scheme = ""] = challenge.split(" ", 1);
    if (scheme.toLowerCase() === "basic" && basic !== undefined) return basic;
    if (scheme.toLowerCase() !== "bearer") throw this.#unauthorized();
    const parameters = Object.fromEntries([...challenge.matchAll(/(\w+)="([^"]*)"/g)].map((m) => [m[1], m[2]]));
    const realm = URL.parse(parameters["realm"] ?? "");
    // A password goes over plain HTTP to loopback alone.
    if (realm === null || !isSafe(realm)) throw this.#unauthorized();
    realm.searchParams.set("scope", parameters["scope"] ?? `repository:${this.#ref.repository}:pull`);
    if (parameters["service"] !== undefined) realm.searchParams.set("service", parameters["service"]);
    const response = await this.#ask(realm, basic === undefined ? {} : { authorization: basic }, signal);
    if (!response.ok) {
      await response.body?.cancel();
      throw response.status >= 500 ? this.#refusal("token", response.status) : this.#unauthorized();
    }
    const answer = (await response.json()) as { token?: string; access_token?: string };
    return `Bearer ${answer.token ?? answer.access_token ?? ""}`;
  }

  #refusal(path: string, status: number): RuntimeError {
    const { full } = this.#ref;
    const registry = this.#host;
    if (status === 404)
      return new RuntimeError(
        { code: "RUNTIME_IMAGE_NOT_FOUND", ref: full },
        `${registry} has no ${full} (asked for ${path}): check its name and tag`,
      );
    if (status === 401 || status === 403) return this.#unauthorized();
    return new RuntimeError(
      { code: "RUNTIME_REGISTRY_REFUSED", registry, status },
      `${registry} answered ${status} for ${full} (${path})`,
    );
  }

  #unauthorized(): RuntimeError {
    const hint = this.#auth === undefined ? "it wants a login" : "the login was refused";
    return new RuntimeError(
      { code: "RUNTIME_REGISTRY_UNAUTHORIZED", registry: this.#host },
      `${this.#host} does not give ${this.#ref.full}: ${hint}`,
    );
  }

  #unreachable(error: unknown): RuntimeError {
    return new RuntimeError(
      { code: "RUNTIME_REGISTRY_UNREACHABLE", registry: this.#host },
      `${this.#host} can't be reached: ${errorText(error)}`,
      { cause: error },
    );
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

function isLoopback(host: string): boolean {
  const name = host.replace(/:\d+$/, "");
  return name === "localhost" || name === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(name);
}
