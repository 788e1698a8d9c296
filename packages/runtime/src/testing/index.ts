/**
 * For those who test against a runtime, or write one.
 *
 * - `fake-runtime.ts`     FakeRuntime: a runtime in memory
 * - `fake-machine.ts`     FakeMachine: the containers, images and faults behind it, as a script sees them
 * - `fake-process.ts`     FakeProcess: one process, as the program that plays it sees it
 * - `runtime-contract.ts` runtimeContract: what every Runtime must do
 * - `program.ts`          Program: what the contract's containers do, as a shell script and as a fake's program
 */
export { FakeRuntime } from "./fake-runtime.ts";
export {
  FakeMachine,
  type FakeHold,
  type FakeMachineOptions,
  type PublishOptions,
  type RuntimeCall,
} from "./fake-machine.ts";
export type { FakeProcess, FakeProgram } from "./fake-process.ts";
export { runtimeContract, type ContractCase, type RuntimeUnderTest } from "./runtime-contract.ts";
export { playProgram, shellScript, type Program, type Step } from "./program.ts";
