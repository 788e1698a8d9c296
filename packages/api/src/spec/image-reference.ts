import { quoted } from "./fields.ts";

/** `name`, which is [host/]path, then a tag, then a digest. */
const parts = /^(?<name>[^@]+?)(?::(?<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?<digest>[^@]+))?$/;
const component = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const path = new RegExp(`^${component}(?:/${component})*$`);
const host = /^(?:[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)*|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/;
const longest = 512;

/** What keeps a text from being an image's name as Docker reads it. */
export function imageFault(image: string): string | undefined {
  const want = "write [HOST/]NAME[:TAG][@sha256:DIGEST], NAME in lower case";
  if (image === "") return `name an image: ${want}`;
  if (image.length > longest) return `longer than ${longest} characters`;
  const { name = "", digest } = parts.exec(image)?.groups ?? {};
  if (digest !== undefined && !/^sha256:[0-9a-f]{64}$/.test(digest))
    return `${quoted(image)}: the digest is not "sha256:" and 64 of 0-9 and a-f`;
  const slash = name.indexOf("/");
  const head = slash < 0 ? "" : name.slice(0, slash);
  const hasHost = head === "localhost" || /[.:[]/.test(head);
  if (hasHost && !host.test(head)) return `${quoted(image)}: ${quoted(head)} is no registry: want HOST or HOST:PORT`;
  return path.test(hasHost ? name.slice(slash + 1) : name) ? undefined : `${quoted(image)} is no image: ${want}`;
}

/** What keeps a text from being a registry as references name it. */
export function registryFault(registry: string): string | undefined {
  if (registry.includes("://")) return `${quoted(registry)}: leave out the scheme; want HOST or HOST:PORT`;
  return host.test(registry) && registry.length <= 255
    ? undefined
    : `${quoted(registry)} is no registry: want HOST or HOST:PORT, such as docker.io or registry.example:5000`;
}
