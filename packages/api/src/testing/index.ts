/**
 * For tests of packages that handle the API's messages.
 *
 * - `filled.ts` messages with every field set, by reflection, so that new fields are included
 * - `leader-connection-contract.ts`, `directory-contract.ts`, `credential-source-contract.ts`, `relay-contract.ts`  the
 *   contracts of these seams, as cases for any test runner
 */
export { filledMessages } from "./filled.ts";
export { leaderConnectionContract, type LeaderUnderTest } from "./leader-connection-contract.ts";
export { directoryContract, type DirectoryUnderTest } from "./directory-contract.ts";
export { credentialSourceContract, type CredentialSourceUnderTest } from "./credential-source-contract.ts";
export { relayContract, type RelayedNode, type RelayUnderTest } from "./relay-contract.ts";
