/** The name of an image, as Docker reads it: `[HOST/]PATH[:TAG][@DIGEST]`. */
export interface ImageReference {
  /** Host, with its port if it names one. `docker.io` where the reference names none, and for `index.docker.io`. */
  readonly registry: string;
  /** `library/nginx`, `team/app`. */
  readonly repository: string;
  /** Undefined where there is none. */
  readonly tag: string | undefined;
  /** `sha256:` and 64 hexadecimal digits. */
  readonly digest: string | undefined;
}

const defaultRegistry = "docker.io";
/** The name under which Docker's older logins know the default registry. */
const defaultRegistryAlias = "index.docker.io";

/** A name, then a tag, then a digest. */
const parts = /^(?<name>[^@]+?)(?::(?<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?<digest>[^@]+))?$/;
const component = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const path = new RegExp(`^${component}(?:/${component})*$`);
const host = /^(?:[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)*|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/;
const longestReference = 512;
const longestHost = 255;

/** The parts of a reference, or what is wrong with it: a clause that names the remedy, without the reference's own text. */
export function parseImageReference(text: string): ImageReference | { readonly fault: string } {
  const want = "write [HOST/]NAME[:TAG][@sha256:DIGEST], NAME in lower case";
  if (text === "") return { fault: `the image is missing: ${want}` };
  if (text.length > longestReference) return { fault: `longer than ${longestReference} characters` };
  const { name = "", tag, digest } = parts.exec(text)?.groups ?? {};
  if (digest !== undefined && !/^sha256:[0-9a-f]{64}$/.test(digest))
    return { fault: 'the digest is not "sha256:" and 64 of 0-9 and a-f' };
  const slash = name.indexOf("/");
  const head = slash < 0 ? "" : name.slice(0, slash);
  // Only a first part that can't be a path's is a host: Docker reads `team/app` as a path.
  const hasHost = head === "localhost" || /[.:[]/.test(head);
  if (hasHost && !isRegistryHost(head))
    return { fault: `${JSON.stringify(head)} is not a registry: want HOST or HOST:PORT` };
  const rest = hasHost ? name.slice(slash + 1) : name;
  if (!path.test(rest)) return { fault: `not a valid image reference: ${want}` };
  const registry = hasHost ? registryName(head) : defaultRegistry;
  const repository = registry === defaultRegistry && !rest.includes("/") ? `library/${rest}` : rest;
  return { registry, repository, tag, digest };
}

/** Whether a text is a registry's HOST or HOST:PORT. */
export function isRegistryHost(text: string): boolean {
  return text.length <= longestHost && host.test(text);
}

/** A registry under its one name, so that a login for either of Docker's names is found. */
export function registryName(registry: string): string {
  return registry === defaultRegistryAlias ? defaultRegistry : registry;
}

/** The registry that an image is pulled from; undefined for a text that is not a reference. */
export function registryOfImage(image: string): string | undefined {
  const reference = parseImageReference(image);
  return "fault" in reference ? undefined : reference.registry;
}
