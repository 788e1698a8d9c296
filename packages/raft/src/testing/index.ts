/**
 * What others need to test against us.
 *
 * - `storage-contract.ts` what every `Disk` must give the log
 */
export { storageContract } from "./storage-contract.ts";
