import { isRegistryHost, parseImageReference } from "@warren/std";
import { quoted } from "./fields.ts";

/** What keeps a text from being an image's name as Docker reads it. */
export function imageFault(image: string): string | undefined {
  const reference = parseImageReference(image);
  if (!("fault" in reference)) return undefined;
  return image === "" || image.length > 200 ? reference.fault : `${quoted(image)}: ${reference.fault}`;
}

/** What keeps a text from being a registry as references name it. */
export function registryFault(registry: string): string | undefined {
  if (registry.includes("://")) return `${quoted(registry)}: leave out the scheme; want HOST or HOST:PORT`;
  return isRegistryHost(registry)
    ? undefined
    : `${quoted(registry)} is not a registry: want HOST or HOST:PORT, such as docker.io or registry.example:5000`;
}
