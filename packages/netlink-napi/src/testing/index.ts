/**
 * Real networks for tests.
 *
 * - `lab.ts`   Lab, LabHost: hosts as network namespaces, and wires between them
 * - `peer.ts`  what serves and calls in each host
 */
export { Lab, LabHost, type Finished } from "./lab.ts";
