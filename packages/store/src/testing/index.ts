/**
 * What others need to test against us: `memoryStore`, a whole store in memory, whose proposer fails when told.
 */
export { memoryStore, type MemoryStore, type MemoryStoreDependencies } from "./memory-store.ts";
export { MemoryProposer, type ProposerFault } from "./memory-proposer.ts";
