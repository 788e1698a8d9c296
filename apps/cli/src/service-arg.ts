import { Args } from "@oclif/core";

export const serviceArg = {
  service: Args.string({ required: true, description: "Name or id; the first characters of an id are enough" }),
};
