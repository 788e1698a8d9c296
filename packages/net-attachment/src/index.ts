/**
 * The network interfaces of a node's tasks, and isolation between networks.
 *
 * - `attachments.ts`   startAttachments, Attachments: attach, detach, adopt
 * - `interfaces.ts`    veth pairs, addresses, routes, sysctls, namespaces
 * - `isolation.ts`     members of networks → rules, for nft and for iptables; pure
 * - `forwarding.ts`    the node's forwarding, turned on and restored
 * - `path-probe.ts`    PathProbe: what other programs' rules keep from tasks, found by packets
 * - `node-addresses.ts` the node's own addresses, which its tasks reach it at
 * - `options.ts`       checks of options and requests
 * - `types.ts`         parameters and results
 * - `errors.ts`        AttachmentError
 */
export { startAttachments, Attachments, type AttachmentsDependencies } from "./attachments.ts";
export {
  PathProbe,
  type BlockedPath,
  type PathName,
  type PathProbeDependencies,
  type PathProbeOptions,
} from "./path-probe.ts";
export { watchAddresses, type NodeAddresses } from "./node-addresses.ts";
export { defaultGateway } from "./options.ts";
export { AttachmentError, type AttachmentFailure } from "./errors.ts";
export type { Attachment, AttachmentsOptions, AttachRequest, Reconciled } from "./types.ts";
