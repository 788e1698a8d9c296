/**
 * The runtime on containerd: images and the life of containers.
 *
 * - `containerd-runtime.ts`  connectContainerd: the calls of the seam that are here
 * - `image-store.ts`         pull into containerd: leases, blobs, unpacking
 * - `registry.ts`            the registry protocol, read side; `reference.ts` image names
 * - `image-config.ts`        an image's manifest and config, Docker's rules for the command
 * - `oci-spec.ts`            ContainerSpec → OCI runtime spec; `capabilities.ts`, `seccomp.ts`, `process-user.ts`
 * - `container-directory.ts` network namespace, hosts, hostname, resolv.conf
 * - `connection.ts`          gRPC to containerd, errors
 */
export {
  connectContainerd,
  type ContainerdDependencies,
  type ContainerdOptions,
  type ContainerdRuntimePart,
} from "./containerd-runtime.ts";
