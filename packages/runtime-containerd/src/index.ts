/**
 * The runtime on containerd.
 *
 * - `containerd-runtime.ts`  connectContainerd: the seam's calls
 * - `options.ts`            what it is given and told
 * - `supervised-containerd.ts` superviseContainerd: finds a containerd, or keeps one of our own running
 * - `image-store.ts`         pull into containerd: leases, blobs, unpacking, collection
 * - `registry.ts`            the registry protocol, read side
 * - `image-config.ts`        an image's manifest and config, Docker's rules for the command
 * - `oci-spec.ts`            ContainerSpec → OCI runtime spec; `capabilities.ts`, `seccomp.ts`, `process-user.ts`
 * - `container-directory.ts` network namespace, hosts, hostname, resolv.conf
 * - `container-log.ts`       reads what the logger beside each container keeps
 * - `exec-process.ts`        a process beside a container's first
 * - `event-stream.ts`        containerd's events of tasks
 * - `cgroup.ts`              usage, and deaths for want of memory, of both cgroup versions
 * - `connection.ts`          gRPC to containerd, errors; `keyed-queue.ts` one thing at a time by key
 * - `native-program.ts`      the program in `native/`: logger, init, namespaces, pipes
 * - `testing/`               a private containerd, a registry, images, as `@warren/runtime-containerd/testing`
 */
export {
  superviseContainerd,
  type SuperviseDependencies,
  type SuperviseOptions,
  type SupervisedContainerd,
} from "./supervised-containerd.ts";
export { connectContainerd } from "./containerd-runtime.ts";
export type { ContainerdDependencies, ContainerdOptions } from "./options.ts";
