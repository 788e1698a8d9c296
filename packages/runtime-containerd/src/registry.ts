import { createHash } from "node:crypto";
import { errorText } from "@warren/std";
import { RuntimeError, type RegistryAuth } from "@warren/runtime";
import type { Reference } from "@warren/runtime";

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

/**
 * The read side of the registry protocol for one repository: manifests and blobs, with basic and token
 * authentication. HTTPS everywhere but on loopback.
 */
export class Registry {
  readonly #ref: Reference;
  readonly #auth: RegistryAuth | undefined;
  readonly #fetch: typeof fetch;
  readonly #base: string;
  #authorization: string | undefined;

  constructor(ref: Reference, auth?: RegistryAuth, fetcher: typeof fetch = fetch) {
    this.#ref = ref;
    this.#auth = auth;
    this.#fetch = fetcher;
    this.#base = `${originOf(ref.registry)}/v2/${ref.repository}`;
  }

  /** The index or manifest of a tag or digest, its digest checked where it was asked by one. */
  async manifest(selector: string, signal?: AbortSignal): Promise<Document> {
    const accept = [...indexTypes, ...manifestTypes].join(", ");
    const response = await this.#get(`/manifests/${selector}`, { accept }, signal);
    const bytes = new Uint8Array(await response.arrayBuffer());
    if (bytes.length > documentBytes) {
      throw new RuntimeError(
        { code: "RUNTIME_IMAGE_INVALID", ref: this.#ref.full },
        `the manifest of ${this.#ref.full} is over 4 MiB`,
      );
    }
    const digest = digestOf(bytes);
    if (selector.startsWith("sha256:") && selector !== digest) throw mismatch(selector, digest);
    const declared = (JSON.parse(new TextDecoder().decode(bytes)) as { mediaType?: string }).mediaType;
    const mediaType = declared ?? response.headers.get("content-type")?.split(";")[0]?.trim() ?? "";
    return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
  }

  /** A blob from `offset` on. Its digest is for the reader to check, who may have the bytes before. */
  async *blob(digest: string, offset: number, signal?: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
    const headers: Record<string, string> = offset === 0 ? {} : { range: `bytes=${offset}-` };
    const response = await this.#get(`/blobs/${digest}`, headers, signal);
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

  async #get(path: string, headers: Record<string, string>, signal?: AbortSignal): Promise<Response> {
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
    try {
      return await this.#fetch(this.#base + path, {
        headers: { ...headers, ...authorization },
        signal: signal ?? null,
      });
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
    if (realm === null || (realm.protocol !== "https:" && !isLoopback(realm.host))) throw this.#unauthorized();
    realm.searchParams.set("scope", parameters["scope"] ?? `repository:${this.#ref.repository}:pull`);
    if (parameters["service"] !== undefined) realm.searchParams.set("service", parameters["service"]);
    let response: Response;
    try {
      response = await this.#fetch(realm, {
        headers: basic === undefined ? {} : { authorization: basic },
        signal: signal ?? null,
      });
    } catch (error) {
      signal?.throwIfAborted();
      throw this.#unreachable(error);
    }
    if (!response.ok) {
      await response.body?.cancel();
      throw response.status >= 500 ? this.#refusal("token", response.status) : this.#unauthorized();
    }
    const answer = (await response.json()) as { token?: string; access_token?: string };
    return `Bearer ${answer.token ?? answer.access_token ?? ""}`;
  }

  #refusal(path: string, status: number): RuntimeError {
    const { registry, full } = this.#ref;
    if (status === 404)
      return new RuntimeError(
        { code: "RUNTIME_IMAGE_NOT_FOUND", ref: full },
        `${registry} has no ${full} (asked for ${path}): check its name and tag`,
      );
    if (status === 401 || status === 403) return this.#unauthorized();
    return new RuntimeError(
      { code: "RUNTIME_REGISTRY_REFUSED", registry, status },
      `${registry} answered ${status} for ${full}`,
    );
  }

  #unauthorized(): RuntimeError {
    const { registry, full } = this.#ref;
    const hint = this.#auth === undefined ? "it wants a login" : "the login was refused";
    return new RuntimeError(
      { code: "RUNTIME_REGISTRY_UNAUTHORIZED", registry },
      `${registry} does not give ${full}: ${hint}`,
    );
  }

  #unreachable(error: unknown): RuntimeError {
    const { registry } = this.#ref;
    return new RuntimeError(
      { code: "RUNTIME_REGISTRY_UNREACHABLE", registry },
      `${registry} can't be reached: ${errorText(error)}`,
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

function originOf(registry: string): string {
  if (registry === "docker.io") return "https://registry-1.docker.io";
  return `${isLoopback(registry) ? "http" : "https"}://${registry}`;
}

function isLoopback(host: string): boolean {
  const name = host.replace(/:\d+$/, "");
  return name === "localhost" || name === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(name);
}
