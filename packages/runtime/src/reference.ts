import { RuntimeError } from "./errors.ts";

/** An image's name in parts, with Docker's defaults filled in. */
export interface Reference {
  /** Host and port in lower case; `docker.io` for Docker's own, however it was written. */
  readonly registry: string;
  readonly repository: string;
  /** Undefined where the reference has a digest and no tag. */
  readonly tag: string | undefined;
  readonly digest: string | undefined;
  /** A tag or a digest: what the manifest is asked by. A digest wins, as the tag beside it is for people. */
  readonly selector: string;
  /** The whole in one form, under which the image is kept. */
  readonly full: string;
}

const grammar = /^(?<name>[^@]+?)(?::(?<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?<digest>[^@]+))?$/;
const hostGrammar = /^(?:[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)*|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/;
const component = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const repositoryGrammar = new RegExp(`^${component}(?:/${component})*$`);
const digestGrammar = /^sha256:[0-9a-f]{64}$/;
/** The distribution project's limit of registry and repository together. */
const nameLength = 255;
/** Room for the longest name, tag and digest. */
const referenceLength = 512;

const dockerRegistry = "docker.io";
/** What Docker's registry is called elsewhere: in old logins, in configurations, in its own answers. */
const dockerAliases: ReadonlySet<string> = new Set(["docker.io", "index.docker.io", "registry-1.docker.io"]);

const want = "write [HOST/]NAME[:TAG][@sha256:DIGEST], NAME in lower case";
/** A text of anybody's in an error: in quotes, and short. */
const quoted = (text: string): string => JSON.stringify(text.length > 80 ? `${text.slice(0, 79)}…` : text);

/** The registry that a login or a reference means by `host`: in lower case, and one name for Docker's. */
export function canonicalRegistry(host: string): string {
  const name = host.toLowerCase();
  return dockerAliases.has(name) ? dockerRegistry : name;
}

/** What keeps a text from being a registry as references name it; undefined where nothing does. */
export function registryFault(registry: string): string | undefined {
  if (registry.includes("://")) return `${quoted(registry)}: leave out the scheme; want HOST or HOST:PORT`;
  return hostGrammar.test(registry) && registry.length <= nameLength
    ? undefined
    : `${quoted(registry)} is no registry: want HOST or HOST:PORT, such as docker.io or registry.example:5000`;
}

/** What keeps a text from being an image's name as Docker reads it; undefined where nothing does. */
export function referenceFault(ref: string): string | undefined {
  const read = readReference(ref);
  return typeof read === "string" ? read : undefined;
}

/** @throws RuntimeError `RUNTIME_REFERENCE_INVALID` */
export function parseReference(ref: string): Reference {
  const read = readReference(ref);
  if (typeof read === "string")
    throw new RuntimeError({ code: "RUNTIME_REFERENCE_INVALID", ref: ref.slice(0, referenceLength) }, read);
  return read;
}

/** The same image by its content, with the tag kept for people: `docker.io/library/nginx:1.27@sha256:…`. */
export function pinReference({ registry, repository, tag }: Reference, digest: string): string {
  return joined(registry, repository, tag, digest);
}

/** A reference, or why it is none. */
function readReference(ref: string): Reference | string {
  if (ref === "") return `name an image: ${want}`;
  if (ref.length > referenceLength) return `${quoted(ref)} is longer than ${referenceLength} characters`;
  const { name = "", tag: givenTag, digest } = grammar.exec(ref)?.groups ?? {};
  if (digest !== undefined && !digestGrammar.test(digest))
    return `${quoted(ref)}: the digest is not "sha256:" and 64 of 0-9 and a-f`;
  const slash = name.indexOf("/");
  const head = slash < 0 ? "" : name.slice(0, slash);
  const hasHost = head === "localhost" || /[.:[]/.test(head);
  if (hasHost && !hostGrammar.test(head))
    return `${quoted(ref)}: ${quoted(head)} is no registry: want HOST or HOST:PORT`;
  const registry = hasHost ? canonicalRegistry(head) : dockerRegistry;
  const path = hasHost ? name.slice(slash + 1) : name;
  const repository = registry === dockerRegistry && !path.includes("/") ? `library/${path}` : path;
  if (!repositoryGrammar.test(repository)) return `${quoted(ref)} is no image reference: ${want}`;
  if (registry.length + 1 + repository.length > nameLength)
    return `${quoted(ref)}: registry and name are longer than ${nameLength} characters`;
  const tag = givenTag ?? (digest === undefined ? "latest" : undefined);
  const full = joined(registry, repository, tag, digest);
  return { registry, repository, tag, digest, selector: digest ?? tag ?? "latest", full };
}

function joined(registry: string, repository: string, tag: string | undefined, digest: string | undefined): string {
  return `${registry}/${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}
