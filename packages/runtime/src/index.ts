/**
 * The interface between a worker and a container runtime, with a fake runtime and the contract suite.
 *
 * - `runtime.ts`         Runtime, with parameters and results of its calls
 * - `image.ts`           images, what a reference resolves to, and an image's configuration
 * - `container-spec.ts`  ContainerSpec: a container to create
 * - `spec-validation.ts` checkContainerSpec: refuses specs that no runtime can carry out, by field
 * - `reference.ts`       parseReference: an image's name in parts, by Docker's rules
 * - `signals.ts`         signals by name and number
 * - `errors.ts`          RuntimeError and its codes
 * - `testing/`           FakeRuntime and the contract suite, as `@warren/runtime/testing`
 */
export type {
  ContainerEvent,
  ContainerState,
  ContainerStats,
  ContainerStatus,
  Connection,
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
