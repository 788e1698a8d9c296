import { platformText, runsOn } from "../platforms.ts";
import type { Filter } from "../rules.ts";
import { listText, nameOf } from "../text.ts";

/** One of the image's platforms is the node's. */
export const platform: Filter = {
  name: "platform",
  reads: "state",
  share: ({ platforms }) => (platforms === undefined || platforms.length === 0 ? undefined : JSON.stringify(platforms)),
  check({ platforms: wanted }) {
    if (wanted === undefined || wanted.length === 0) return undefined;
    return ({ state: { platform: has } }) => has !== undefined && wanted.some((each) => runsOn(has, each));
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
