/**
 * For tests of what uses a runtime, and of runtimes themselves.
 *
 * - `fake-runtime.ts`     FakeRuntime: a runtime in memory
 * - `fake-machine.ts`     FakeMachine: its containers, images and faults, which tests script
 * - `fake-process.ts`     FakeProcess: one process, for the program that simulates it
 * - `runtime-contract.ts` runtimeContract: the cases that every Runtime passes
 * - `program.ts`          Program: a container of the contract suite, as a shell script and as a fake's program
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
export { runtimeContract, type RuntimeUnderTest } from "./runtime-contract.ts";
export { playProgram, shellScript, type Program, type Step } from "./program.ts";
