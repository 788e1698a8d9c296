/**
 * What others need to test against us.
 *
 * - `certificates.ts`     keys and certificates of members
 * - `storage-contract.ts` what every `Disk` must give the log
 * - `core-storage-contract.ts` what every `Storage` must give the core
 * - `transport-contract.ts` what every `Transport` must do
 * - `simulation/`         a cluster in a seed: production's code on simulated machines, with faults, clients and a judge
 */
export { makeAuthority, makeCertificate, readCertificate } from "./certificates.ts";
export { coreStorageContract, type CoreStorageUnderTest } from "./core-storage-contract.ts";
export { transportContract, type TransportUnderTest } from "./transport-contract.ts";
export { storageContract } from "./storage-contract.ts";
export {
  checkLinearizable,
  encodeAction,
  planOf,
  readHistory,
  simulate,
  SimulatedCluster,
  troubles,
  Violation,
  writeHistory,
  type Action,
  type Damage,
  type Machine,
  type Operation,
  type Plan,
  type SimulationOptions,
  type SimulationReport,
  type Trouble,
  type Verdict,
} from "./simulation/index.ts";
