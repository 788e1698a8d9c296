/**
 * For tests against the agent's seams, and for new implementations of them.
 *
 * - `fake-manager.ts` FakeManager: the managers, as a Session reaches them
 * - `fake-network.ts` FakeNetwork: a TaskNetwork in memory; `fake-probes.ts` FakeProbes: scripted servers
 * - `memory-state.ts` MemoryDisk: an AgentState in memory
 * - `state-contract.ts`, `network-contract.ts`, `session-contract.ts`, `probe-contract.ts`: the contracts of the seams, on
 *   `contract.ts`
 */
export { FakeManager, type OpenRelay } from "./fake-manager.ts";
export { FakeNetwork } from "./fake-network.ts";
export { FakeProbes } from "./fake-probes.ts";
export { MemoryDisk } from "./memory-state.ts";
export { agentStateContract, type StateUnderTest } from "./state-contract.ts";
export { taskNetworkContract, type NetworkUnderTest } from "./network-contract.ts";
export { sessionContract, type ManagerUnderTest, type SessionUnderTest } from "./session-contract.ts";
export { probeTransportContract, type ProbesUnderTest } from "./probe-contract.ts";
