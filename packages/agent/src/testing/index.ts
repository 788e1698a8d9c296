/**
 * For those who test against an agent's seams, or write one.
 *
 * - `fake-manager.ts` FakeManager: the managers, as a Session reaches them
 * - `fake-network.ts` FakeNetwork: a TaskNetwork in memory
 * - `memory-state.ts` MemoryDisk: an AgentState in memory
 */
export { FakeManager, type OpenRelay } from "./fake-manager.ts";
export { FakeNetwork } from "./fake-network.ts";
export { MemoryDisk } from "./memory-state.ts";
