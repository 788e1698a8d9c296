/**
 * For tests of what uses a store, and of what implements a `Proposer`.
 *
 * - `memory-store.ts`      memoryStore: the real store on a log in memory
 * - `memory-proposer.ts`   that log, with faults that a test can inject
 * - `proposer-contract.ts` the cases that every `Proposer` passes
 */
export { memoryManagers, memoryStore, type MemoryStore, type MemoryStoreDependencies } from "./memory-store.ts";
export { MemoryLog, MemoryProposer, type ProposerFault } from "./memory-proposer.ts";
export { proposerContract, type ProposerUnderTest } from "./proposer-contract.ts";
