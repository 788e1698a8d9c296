import { formatImageReference, parseImageReference, type ImageReference } from "@warren/std";
import { RuntimeError } from "./errors.ts";

/** An image's name in parts, with Docker's defaults filled in. The tag is undefined where there is a digest alone. */
export interface Reference extends ImageReference {
  /** The digest, or else the tag: by which the manifest is requested from the registry. */
  readonly selector: string;
  /** The canonical text, under which a runtime keeps the image. */
  readonly full: string;
}

/** Characters of a reference that are repeated in an error. */
const shownCharacters = 512;

/** @throws RuntimeError `RUNTIME_REFERENCE_INVALID` */
export function parseReference(ref: string): Reference {
  const read = parseImageReference(ref);
  if ("fault" in read)
    throw new RuntimeError(
      { code: "RUNTIME_REFERENCE_INVALID", ref: ref.slice(0, shownCharacters) },
      ref === "" ? read.fault : `${JSON.stringify(ref.slice(0, 80))}: ${read.fault}`,
    );
  const tag = read.tag ?? (read.digest === undefined ? "latest" : undefined);
  const reference = { ...read, tag };
  return { ...reference, selector: read.digest ?? tag ?? "latest", full: formatImageReference(reference) };
}

/** The same image by its content, with the tag kept for people: `docker.io/library/nginx:1.27@sha256:…`. */
export function pinReference(reference: Reference, digest: string): string {
  return formatImageReference({ ...reference, digest });
}
