import type { Filter } from "../rules.ts";
import { listText, nameOf } from "../text.ts";
import type { Platform } from "../types.ts";

/** The image is made for the node's platform. */
export const platform: Filter = {
  name: "platform",
  reads: "state",
  share: ({ platforms }) => (platforms === undefined || platforms.length === 0 ? undefined : JSON.stringify(platforms)),
  check({ platforms: wanted }) {
    if (wanted === undefined || wanted.length === 0) return undefined;
    return ({ state }) => wanted.some((each) => runs(state.platform, each));
  },
  explain({ platforms = [] }, node) {
    const image = listText(platforms.map(platformText));
    const actual = platformText(node.state.platform);
    return {
      text: `unable to run the image: it is for ${image}, ${nameOf(node)} is ${actual}`,
      ...(node.state.platform === undefined ? {} : { help: `build the image for ${actual}` }),
      data: { image, actual },
    };
  },
};

const archAliases: ReadonlyMap<string, string> = new Map([
  ["x86_64", "amd64"],
  ["aarch64", "arm64"],
]);

function runs(node: Platform | undefined, image: Platform): boolean {
  if (node === undefined) return false;
  const arch = (name: string): string => archAliases.get(name) ?? name;
  return (image.os === "" || image.os === node.os) && (image.arch === "" || arch(image.arch) === arch(node.arch));
}

function platformText(each: Platform | undefined): string {
  return each === undefined ? "of no known platform" : `${each.os || "any"}/${each.arch || "any"}`;
}
