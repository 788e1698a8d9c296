import { parseImageReference } from "@warren/std";
import { quoted } from "./fields.ts";

/** What keeps a text from being an image's name as Docker reads it. */
export function imageFault(image: string): string | undefined {
  const reference = parseImageReference(image);
  if (!("fault" in reference)) return undefined;
  return image === "" || image.length > 200 ? reference.fault : `${quoted(image)}: ${reference.fault}`;
}
