/**
 * Real networks for tests, made of network namespaces.
 *
 * - `lab.ts`   Lab, LabHost: hosts as network namespaces, and veth pairs between them
 * - `peer.ts`  the program that serves and calls in each host
 */
export { Lab, LabHost, type Finished } from "./lab.ts";
