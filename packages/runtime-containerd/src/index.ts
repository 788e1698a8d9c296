/**
 * The runtime on containerd. What it is made of and why: DESIGN.md.
 *
 * - `containerd-runtime.ts`  connectContainerd: the seam's calls
 * - `options.ts`            what it is given
 * - `supervised-containerd.ts` superviseContainerd: finds a containerd, or keeps one of our own running;
 *                           `containerd-damage.ts` what becomes of its damaged data
 * - `open-containerd.ts`     openContainerd: the machine's, or one of our own; `containerd-choice.ts` keeps which
 * - `runtime-faults.ts`     knownRuntimeFaults: the holes of this machine's runc
 * - `image-store.ts`        images in containerd; `content-store.ts` blobs, `leases.ts` what is kept while it is made
 * - `registry.ts`           the registry protocol, read side; `www-authenticate.ts` its challenges
 * - `image-resolution.ts`   from a name to the documents for this machine; `image-documents.ts` their form,
 *                           `platform.ts` which fits best
 * - `container-pieces.ts`   all of a container but its record; `container-directory.ts` its files and namespace
 * - `oci-spec.ts`           ContainerSpec → OCI runtime spec; `command-line.ts`, `capabilities.ts`, `seccomp.ts`,
 *                           `process-user.ts`; `docker-defaults.ts` Docker's lists, generated
 * - `container-log.ts`      reads what the logger beside each container keeps
 * - `exec-process.ts`       a process beside a container's first; `process-start.ts` when a process began
 * - `event-stream.ts`       containerd's events of tasks
 * - `cgroup.ts`             usage, weights, deaths for want of memory, of both cgroup versions
 * - `connection.ts`         gRPC to containerd, errors; `keyed-queue.ts` one thing at a time by key
 * - `native-program.ts`     the program in `native/`: namespaces, pipes, files of images; logger and init
 * - `testing/`              a private containerd, a registry, images, as `@warren/runtime-containerd/testing`
 */
export {
  superviseContainerd,
  type SuperviseDependencies,
  type SuperviseOptions,
  type SupervisedContainerd,
} from "./supervised-containerd.ts";
export { knownRuntimeFaults, type RuntimeFault } from "./runtime-faults.ts";
export { connectContainerd } from "./containerd-runtime.ts";
export type { ContainerdDependencies, ContainerdOptions } from "./options.ts";
export { openContainerd, type OpenContainerdOptions, type OpenedContainerd } from "./open-containerd.ts";
