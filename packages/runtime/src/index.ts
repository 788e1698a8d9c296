/**
 * What a worker asks of a container runtime. No runtime is here.
 *
 * - `runtime.ts`         Runtime and what its calls take and give
 * - `image.ts`           images, what a reference resolves to, and an image's configuration
 * - `container-spec.ts`  ContainerSpec: all that can be asked of one container
 * - `spec-validation.ts` checkContainerSpec: what no runtime can do is refused by field
 * - `reference.ts`       parseReference: an image's name in parts, by Docker's rules; registries' names
 * - `signals.ts`         signals by name and number
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
  LogLine,
  LogOptions,
  PullOptions,
  PullProgress,
  RegistryAuth,
  ResolveOptions,
  Runtime,
  RuntimeInfo,
} from "./runtime.ts";
export { wholeLineBytes } from "./runtime.ts";
export {
  emptyImageConfig,
  type Image,
  type ImageConfig,
  type ImageHealthcheck,
  type ImageSource,
  type LocalImage,
  type Platform,
  type PulledImage,
  type ResolvedImage,
} from "./image.ts";
export type { ContainerSpec, Device, Dns, LogRotation, Mount, Resources, Ulimit } from "./container-spec.ts";
export { RuntimeError, type RuntimeFailure } from "./errors.ts";
export { checkContainerSpec } from "./spec-validation.ts";
export { parseReference, pinReference, type Reference } from "./reference.ts";
export { findSignal, signalNumber, stopSignalNumber } from "./signals.ts";
