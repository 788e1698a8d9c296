import type { Filter } from "../rules.ts";
import { addresses } from "./addresses.ts";
import { affinity, antiAffinity } from "./affinity.ts";
import { constraints } from "./constraints.ts";
import { hostPorts } from "./host-ports.ts";
import { level } from "./level.ts";
import { maxPerNode } from "./max-per-node.ts";
import { localVolumes, networks, volumes } from "./offers.ts";
import { platform } from "./platform.ts";
import { ready } from "./ready.ts";
import { resources } from "./resources.ts";
import { taints } from "./taints.ts";

/** In their order; a node is counted for the first that refuses it. */
export const defaultFilters: readonly Filter[] = [
  ready,
  level,
  constraints,
  platform,
  taints,
  networks,
  volumes,
  localVolumes,
  affinity,
  antiAffinity,
  addresses,
  hostPorts,
  maxPerNode,
  resources,
];
