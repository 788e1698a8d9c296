import { isIPv4 } from "node:net";
import { ipv4SubnetHas, parseIpv4Subnet } from "@warren/std";
import { AttachmentError } from "./errors.ts";
import type { AttachmentsOptions, AttachRequest, ResolvedOptions } from "./types.ts";

/** The node's address that each task sees as its gateway, where the options name no other. */
export const defaultGateway = "169.254.1.1";

/** Ids become file names and, hashed, names of interfaces and sets. */
const idPattern = /^[A-Za-z0-9][\w.-]{0,63}$/;

function refuse(field: string, why: string): never {
  throw new AttachmentError({ code: "ATTACHMENT_INVALID", field }, `${field}: ${why}`);
}

export function resolveOptions(options: AttachmentsOptions): ResolvedOptions {
  const resolved = {
    taskPool: "10.77.0.0/16",
    vipPool: "10.96.0.0/16",
    gateway: defaultGateway,
    mtu: 1_500,
    trusted: [],
    ...options,
  };
  const subnets = { ...resolved, ...Object.fromEntries(resolved.trusted.map((text, i) => [`trusted[${i}]`, text])) };
  for (const field of ["taskPool", "vipPool", "nodeSubnet", ...resolved.trusted.map((_, i) => `trusted[${i}]`)]) {
    const text = String((subnets as Record<string, unknown>)[field]);
    if (parseIpv4Subnet(text) === undefined) refuse(field, `want an IPv4 subnet such as 10.77.0.0/16, not '${text}'`);
  }
  if (!isIPv4(resolved.gateway)) refuse("gateway", `want an IPv4 address, not '${resolved.gateway}'`);
  if (!Number.isInteger(resolved.mtu) || resolved.mtu < 576 || resolved.mtu > 65_535) {
    refuse("mtu", `want bytes from 576 to 65535, not ${resolved.mtu}`);
  }
  return Object.freeze(resolved);
}

/** @throws AttachmentError `ATTACHMENT_INVALID` */
export function checkRequest(request: AttachRequest, options: ResolvedOptions): void {
  if (!idPattern.test(request.taskId))
    refuse("taskId", `want up to 64 letters, digits, '_', '.' or '-', not '${request.taskId}'`);
  if (request.address.includes(":"))
    refuse("address", `${request.address} is IPv6, which tasks do not have: use an IPv4 address`);
  const subnet = parseIpv4Subnet(options.nodeSubnet);
  if (subnet === undefined || !ipv4SubnetHas(subnet, request.address)) {
    refuse("address", `want an IPv4 address of this node's subnet ${options.nodeSubnet}, not '${request.address}'`);
  }
}
