/**
 * What others need to test against us.
 *
 * - `memory-store.ts`      memoryStore: the real store on a log in memory
 * - `memory-proposer.ts`   that log, with faults that a test asks for
 * - `proposer-contract.ts` what every `Proposer` does
 */
export { memoryManagers, memoryStore, type MemoryStore, type MemoryStoreDependencies } from "./memory-store.ts";
export { MemoryLog, MemoryProposer, type ProposerFault } from "./memory-proposer.ts";
export { proposerContract, type ProposerContractCase, type ProposerUnderTest } from "./proposer-contract.ts";
