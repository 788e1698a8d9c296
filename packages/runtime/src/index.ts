/**
 * What a worker asks of a container runtime. Types and one error class; no runtime is here.
 *
 * - `runtime.ts`        Runtime and what its calls take and give
 * - `container-spec.ts` ContainerSpec: all that can be asked of one container
 * - `errors.ts`         RuntimeError and its codes
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
export type { ContainerSpec, Device, Dns, Mount, Resources, Ulimit } from "./container-spec.ts";
export { RuntimeError, type RuntimeFailure } from "./errors.ts";
