export { simulate, type SimulationReport } from "./world.ts";
export { SimulatedCluster, type SimulationOptions } from "./cluster.ts";
export { encodeAction, type Action } from "./machine.ts";
export type { Machine } from "./machines.ts";
export type { Damage } from "./damage.ts";
export { planOf, troubles, type Plan, type Trouble } from "./plan.ts";
export { checkLinearizable, type Verdict } from "./linearizability.ts";
export { readHistory, writeHistory, type Operation } from "./history.ts";
export { Violation } from "./invariants.ts";
