import type { Scorer } from "../rules.ts";

/** A node that has the image need not pull it. */
export const imagePresent: Scorer = {
  name: "image-present",
  score({ image }) {
    return image === undefined ? undefined : ({ state }) => (state.images?.includes(image) === true ? 0 : 1);
  },
  best: ({ image }, world) => (image === undefined ? undefined : world.imageHomes(image)),
  explain: (value) => (value === 0 ? "it has the image" : "it has to pull the image"),
};
