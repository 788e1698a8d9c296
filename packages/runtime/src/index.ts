/**
 * What a worker asks of a container runtime. No runtime is here.
 *
 * - `runtime.ts`         Runtime and what its calls take and give
 * - `container-spec.ts`  ContainerSpec: all that can be asked of one container
 * - `spec-validation.ts` checkContainerSpec: what no runtime can do is refused by field
 * - `reference.ts`       parseReference: an image's name in parts, by Docker's rules
 * - `signals.ts`         signalNumber
 * - `errors.ts`          RuntimeError and its codes
 * - `testing/`           FakeRuntime and the contract suite, as `@warren/runtime/testing`
 */
export type {
  ContainerEvent,
  ContainerState,
  ContainerStats,
  ContainerStatus,
  ExecProcess,
  ExecSpec,
  ExecStreams,
  ExitStatus,
  Image,
  LogLine,
  LogOptions,
  PullOptions,
  PullProgress,
  RegistryAuth,
  Runtime,
  RuntimeInfo,
} from "./runtime.ts";
export type { ContainerSpec, Device, Dns, LogRotation, Mount, Resources, Ulimit } from "./container-spec.ts";
export { RuntimeError, type RuntimeFailure } from "./errors.ts";
export { checkContainerSpec } from "./spec-validation.ts";
export { parseReference, type Reference } from "./reference.ts";
export { signalNumber } from "./signals.ts";
