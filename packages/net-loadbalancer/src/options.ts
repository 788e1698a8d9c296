import { isIPv4 } from "node:net";
import { ipv4SubnetHas, parseIpv4Subnet } from "@warren/std";
import { LoadBalancerError } from "./errors.ts";
import type { BalancedService, LoadBalancerOptions, PortUse, ResolvedOptions } from "./types.ts";

/** Ids become names of chains and sets. */
const idPattern = /^[\w.-]{1,64}$/;
/** API and Raft, REST, WireGuard. The metrics listeners count as ports in use. */
const ownPorts: readonly PortUse[] = [
  { protocol: "tcp", port: 2_377 },
  { protocol: "tcp", port: 2_378 },
  { protocol: "udp", port: 51_820 },
];
const weightLimit = 65_535;

function refuse(field: string, why: string): never {
  throw new LoadBalancerError({ code: "LB_INVALID", field }, `${field}: ${why}`);
}

/** Whether an IPv4 address lies within a subnet of checked options. */
export function subnet(text: string): (address: string) => boolean {
  const parsed = parseIpv4Subnet(text);
  return (address) => parsed !== undefined && ipv4SubnetHas(parsed, address);
}

export function resolveOptions(options: LoadBalancerOptions): ResolvedOptions {
  const resolved = {
    taskPool: "10.77.0.0/16",
    vipPool: "10.96.0.0/16",
    gateway: "169.254.1.1",
    reserved: ownPorts,
    ...options,
  };
  for (const field of ["taskPool", "nodeSubnet", "vipPool"] as const) {
    if (parseIpv4Subnet(resolved[field]) === undefined)
      refuse(field, `want an IPv4 subnet such as 10.77.0.0/16, not '${resolved[field]}'`);
  }
  if (!isIPv4(resolved.gateway)) refuse("gateway", `want an IPv4 address, not '${resolved.gateway}'`);
  return Object.freeze(resolved);
}

function checkPort(field: string, port: number): void {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) refuse(field, `want a port from 1 to 65535, not ${port}`);
}

/** @throws LoadBalancerError `LB_INVALID`, with the first field that is wrong */
export function checkServices(services: readonly BalancedService[], options: ResolvedOptions): void {
  const taken = new Map<string, string>();
  const take = (key: string, field: string): void => {
    const other = taken.get(key);
    if (other !== undefined) refuse(field, `${key} is taken by ${other}; each may be used once on a node`);
    taken.set(key, field);
  };
  const vips = subnet(options.vipPool);
  for (const [index, service] of services.entries()) {
    const at = `services[${index}]`;
    if (!idPattern.test(service.id)) refuse(`${at}.id`, "want up to 64 letters, digits, '_', '.' or '-'");
    take(`service ${service.id}`, `${at}.id`);
    if (service.vip !== undefined) {
      if (!vips(service.vip)) refuse(`${at}.vip`, `want an address of ${options.vipPool}, not '${service.vip}'`);
      take(`VIP ${service.vip}`, `${at}.vip`);
    }
    for (const [i, { address, weight = 1 }] of service.backends.entries()) {
      if (!isIPv4(address)) refuse(`${at}.backends[${i}].address`, `want an IPv4 address, not '${address}'`);
      if (!Number.isInteger(weight) || weight < 0 || weight > weightLimit) {
        refuse(`${at}.backends[${i}].weight`, `want a whole number from 0 to ${weightLimit}, not ${weight}`);
      }
    }
    for (const [i, port] of (service.ports ?? []).entries()) {
      checkPort(`${at}.ports[${i}].published`, port.published);
      checkPort(`${at}.ports[${i}].target`, port.target);
      take(`port ${port.published}/${port.protocol}`, `${at}.ports[${i}].published`);
    }
  }
}
