export { simulate, type SimulationOptions, type SimulationReport } from "./world.ts";
export { planOf, type Plan, type Trouble } from "./plan.ts";
export { checkLinearizable, type Verdict } from "./linearizability.ts";
export { readHistory, writeHistory, type Operation } from "./history.ts";
export { Violation } from "./invariants.ts";
