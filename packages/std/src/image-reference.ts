/** The name of an image, as Docker reads it: `[HOST/]PATH[:TAG][@DIGEST]`. */
export interface ImageReference {
  /** Host, with its port if the text has one, as `canonicalRegistry` writes it. `docker.io` where the text has none. */
  readonly registry: string;
  /** `library/nginx`, `team/app`. */
  readonly repository: string;
  /** Undefined where there is none. */
  readonly tag: string | undefined;
  /** `sha256:` and 64 hexadecimal digits. */
  readonly digest: string | undefined;
}

const dockerRegistry = "docker.io";
/** Other names of Docker's registry: in old logins, in configuration files, and the host that answers its API. */
const dockerAliases: ReadonlySet<string> = new Set(["index.docker.io", "registry-1.docker.io"]);

/** A name, then a tag, then a digest. */
const parts = /^(?<name>[^@]+?)(?::(?<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?<digest>[^@]+))?$/;
const component = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const path = new RegExp(`^${component}(?:/${component})*$`);
const host = /^(?:[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)*|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/;
/** Characters; room for the longest name, tag and digest. */
const longestReference = 512;
/** Characters of registry, slash and repository together: the limit of the distribution project. */
const longestName = 255;

/**
 * The parts of a reference, or what is wrong with it: a clause of at most 200 characters that names the remedy, without
 * the whole of the reference's own text.
 */
export function parseImageReference(text: string): ImageReference | { readonly fault: string } {
  const want = "write [HOST/]NAME[:TAG][@sha256:DIGEST], NAME in lower case";
  if (text === "") return { fault: `the image is missing: ${want}` };
  if (text.length > longestReference) return { fault: `longer than ${longestReference} characters` };
  const { name = "", tag, digest } = parts.exec(text)?.groups ?? {};
  if (digest !== undefined && !/^sha256:[0-9a-f]{64}$/.test(digest))
    return { fault: 'the digest is not "sha256:" and 64 of 0-9 and a-f' };
  const slash = name.indexOf("/");
  const head = slash < 0 ? "" : name.slice(0, slash);
  // A first part with a dot, a colon or a bracket is a host, and so is localhost: Docker reads `team/app` as a path.
  const hasHost = head === "localhost" || /[.:[]/.test(head);
  if (hasHost && !host.test(head)) return { fault: `${quoted(head)} is not a registry: want HOST or HOST:PORT` };
  const rest = hasHost ? name.slice(slash + 1) : name;
  if (!path.test(rest)) return { fault: `not a valid image reference: ${want}` };
  const registry = hasHost ? canonicalRegistry(head) : dockerRegistry;
  const repository = registry === dockerRegistry && !rest.includes("/") ? `library/${rest}` : rest;
  if (registry.length + 1 + repository.length > longestName)
    return { fault: `registry and name are longer than ${longestName} characters` };
  return { registry, repository, tag, digest };
}

/** The text that `parseImageReference` reads back, with the registry always named. */
export function formatImageReference({ registry, repository, tag, digest }: ImageReference): string {
  return `${registry}/${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}

/** A registry under its one name: in lower case, and `docker.io` for each of Docker's names. Logins are kept under it. */
export function canonicalRegistry(registry: string): string {
  const name = registry.toLowerCase();
  return dockerAliases.has(name) ? dockerRegistry : name;
}

/** What keeps a text from being a registry's HOST or HOST:PORT; undefined where nothing does. */
export function registryFault(registry: string): string | undefined {
  if (registry.includes("://")) return `${quoted(registry)}: leave out the scheme; want HOST or HOST:PORT`;
  return host.test(registry) && registry.length <= longestName
    ? undefined
    : `${quoted(registry)} is not a registry: want HOST or HOST:PORT, such as docker.io or registry.example:5000`;
}

/** The registry that an image is pulled from; undefined for a text that is not a reference. */
export function registryOfImage(image: string): string | undefined {
  const reference = parseImageReference(image);
  return "fault" in reference ? undefined : reference.registry;
}

/** A user's text in an error: in quotes and cut, so that the message stays short. */
function quoted(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 79)}…` : text);
}
