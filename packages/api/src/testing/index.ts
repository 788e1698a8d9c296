/**
 * What others need to test against us.
 *
 * - `filled.ts` messages with every field set, by reflection: a field that is new is in them by itself
 * - `leader-connection-contract.ts`, `directory-contract.ts`, `credential-source-contract.ts` what each of these seams
 *   must do, as cases for any test runner
 */
export { filledMessages } from "./filled.ts";
export type { ContractCase } from "./contract.ts";
export { leaderConnectionContract, type LeaderUnderTest } from "./leader-connection-contract.ts";
export { directoryContract, type DirectoryUnderTest } from "./directory-contract.ts";
export { credentialSourceContract, type CredentialSourceUnderTest } from "./credential-source-contract.ts";
