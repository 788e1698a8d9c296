import { Args } from "@oclif/core";

export const serviceArg = {
  service: Args.string({ required: true, description: "Name, id or unique beginning of an id" }),
};
