/**
 * Virtual addresses and published ports of services, task subnets of nodes, addresses of leases.
 *
 * What is allocated stands in the service, node or lease that has it, so the store is the allocator's whole state: what
 * is deleted is free again. A command that was computed on a state that lacks an earlier one is refused when it is
 * applied, so that no leader allocates anything twice. Kept here is only where the search for something free goes on, so
 * that what was released rests for as long as the pool allows.
 */
import {
  PortSpec_Mode,
  PortSpec_Protocol,
  type Node,
  type PortSpec,
  type Service,
  type ServiceEndpoint,
} from "@warren/api";
import { defaultTaskPool, defaultVipPool, idOf } from "@warren/api/model";
import { ipv4Text, parseIpv4Subnet, type Ipv4Subnet } from "@warren/std";
import type { View } from "@warren/store";
import { nextFree } from "./next-free.ts";
import { remaining, type Moment } from "./reading.ts";
import { addressRestMs } from "./slot-draft.ts";

/** Ports that are chosen where none is asked for; both ends included. */
export const chosenPorts = { first: 30_000, last: 32_767 } as const;

/** Each node's part of the task pool. */
const subnetPrefix = 24;

export type Allocation<T> =
  /** `changed`: it is not what was held before. */
  | { readonly kind: "allocated"; readonly value: T; readonly changed: boolean }
  /** Nothing was changed. `reason` continues `waits: `. `inMs`: when something that rests is free. */
  | { readonly kind: "short"; readonly reason: string; readonly inMs?: number };

export class Allocator {
  #nextVip = 0;
  #nextPort = 0;
  #nextSubnet = 0;
  /** What the services in a transaction hold, read once for each. */
  readonly #held = new WeakMap<View, HeldEndpoints>();

  /** The endpoint that `service` is to have: what it has already as far as that still fits its spec. */
  endpoint(view: View, service: Service): Allocation<ServiceEndpoint> {
    const { endpoint } = service;
    if (endpoint !== undefined && hasAll(service)) return { kind: "allocated", value: endpoint, changed: false };

    const held = this.#heldIn(view);
    const vip = endpoint?.vip || this.#vip(view, held);
    if (vip === undefined) return { kind: "short", reason: `no address is left in the pool ${vipPool(view)}` };
    const wanted = service.spec?.ports ?? [];
    const before = endpoint?.ports ?? [];
    const asked = new Set(wanted.filter(({ published }) => published !== 0).map(portKey));
    const reserved = new Set([...before.map(portKey), ...asked]);
    const ports: PortSpec[] = [];
    for (const each of wanted) {
      const kept = before.find((port) => isChosen(port) && !asked.has(portKey(port)) && answers(port, each));
      const port = each.published === 0 ? (kept ?? this.#choose(each, held, reserved)) : asAsked(each, service, held);
      if (typeof port === "string") return { kind: "short", reason: port };
      asked.add(portKey(port));
      reserved.add(portKey(port));
      ports.push(port);
    }
    const value = { vip, ports };
    held.put(service, value);
    return { kind: "allocated", value, changed: true };
  }

  /** The subnet that `node` is to have. */
  subnet(view: View, node: Node, at: Moment): Allocation<string> {
    if (node.subnet !== "") return { kind: "allocated", value: node.subnet, changed: false };
    const pool = parseIpv4Subnet(taskPool(view));
    if (pool === undefined || pool.prefix > subnetPrefix)
      return { kind: "short", reason: `the task pool ${taskPool(view)} holds no /${subnetPrefix}` };
    const taken = new Set(view.list("nodes").map(({ subnet }) => subnet));
    const removed = removedSubnets(view, at);
    const nameOf = (index: number): string =>
      `${ipv4Text(pool.first + index * 2 ** (32 - subnetPrefix))}/${subnetPrefix}`;
    const count = 2 ** (subnetPrefix - pool.prefix);
    // One that a removed node may still use is the last to be allocated again.
    const index =
      nextFree(count, this.#nextSubnet, (each) => taken.has(nameOf(each)) || removed.has(nameOf(each))) ??
      nextFree(count, this.#nextSubnet, (each) => taken.has(nameOf(each)) || (removed.get(nameOf(each)) ?? 0) > 0);
    if (index === undefined) {
      const rests = [...removed].filter(([subnet, ms]) => ms > 0 && !taken.has(subnet)).map(([, ms]) => ms);
      const reason = `no subnet is left in the task pool ${taskPool(view)}`;
      return { kind: "short", reason, ...(rests.length > 0 && { inMs: Math.min(...rests) }) };
    }
    this.#nextSubnet = index + 1;
    return { kind: "allocated", value: nameOf(index), changed: true };
  }

  #heldIn(view: View): HeldEndpoints {
    let held = this.#held.get(view);
    if (held === undefined) this.#held.set(view, (held = heldEndpoints(view)));
    return held;
  }

  #vip(view: View, held: HeldEndpoints): string | undefined {
    const pool = parseIpv4Subnet(vipPool(view));
    if (pool === undefined) return undefined;
    const { first, count } = hosts(pool);
    const index = nextFree(count, this.#nextVip, (each) => held.vips.has(ipv4Text(first + each)));
    if (index === undefined) return undefined;
    this.#nextVip = index + 1;
    return ipv4Text(first + index);
  }

  /** A port that nobody has, or why there is none. */
  #choose(wanted: PortSpec, held: HeldEndpoints, reserved: ReadonlySet<string>): PortSpec | string {
    const port = { ...wanted, protocol: protocolOf(wanted), mode: modeOf(wanted) };
    const at = (index: number): PortSpec => ({ ...port, published: chosenPorts.first + index });
    const taken = (key: string): boolean => reserved.has(key) || held.ports.has(key);
    const count = chosenPorts.last - chosenPorts.first + 1;
    const index = nextFree(count, this.#nextPort, (each) => taken(portKey(at(each))));
    if (index === undefined)
      return `every port from ${chosenPorts.first} to ${chosenPorts.last} is published by some service`;
    this.#nextPort = index + 1;
    return at(index);
  }
}

/** The port as the spec names it, or why it can't be had. */
function asAsked(wanted: PortSpec, service: Service, held: HeldEndpoints): PortSpec | string {
  const port = { ...wanted, protocol: protocolOf(wanted), mode: modeOf(wanted) };
  const holder = held.holder(port, service);
  return holder === undefined ? port : `port ${portKey(port)} is published by the service ${holder}`;
}

/** Whether a port that was chosen is what `wanted` asks for. */
function answers(chosen: PortSpec, wanted: PortSpec): boolean {
  return samePort({ ...chosen, published: 0 }, wanted);
}

interface PortHolder {
  readonly serviceName: string;
  readonly mode: PortSpec_Mode;
}

/** Addresses and ports of all services, with what the same transaction gave out. */
class HeldEndpoints {
  readonly vips = new Set<string>();
  /** `8080/tcp` → service id → how it holds it. */
  readonly ports = new Map<string, Map<string, PortHolder>>();

  put(service: Service, { vip, ports }: ServiceEndpoint): void {
    this.vips.add(vip);
    for (const port of ports) {
      const holders = this.ports.get(portKey(port)) ?? new Map<string, PortHolder>();
      holders.set(idOf(service), { serviceName: service.spec?.name ?? "", mode: modeOf(port) });
      this.ports.set(portKey(port), holders);
    }
  }

  /** The name of another service that keeps `service` from having `port`. Two host-mode ports are on different nodes. */
  holder(port: PortSpec, service: Service): string | undefined {
    for (const [id, { serviceName, mode }] of this.ports.get(portKey(port)) ?? []) {
      if (id === idOf(service) || (mode === PortSpec_Mode.HOST && port.mode === PortSpec_Mode.HOST)) continue;
      return serviceName;
    }
    return undefined;
  }
}

/** Subnets of removed nodes, and how long the addresses of each rest yet, ms (L8). */
function removedSubnets(view: View, at: Moment): ReadonlyMap<string, number> {
  const subnets = new Map<string, number>();
  for (const { meta, subnet } of view.list("removedNodes")) {
    const restMs = remaining(meta?.createdAt, addressRestMs, at);
    if (subnet !== "") subnets.set(subnet, Math.max(restMs, subnets.get(subnet) ?? 0));
  }
  return subnets;
}

/** L17: the address of a deleted service rests until its last slot has gone. */
function heldEndpoints(view: View): HeldEndpoints {
  const held = new HeldEndpoints();
  for (const service of view.list("services")) if (service.endpoint !== undefined) held.put(service, service.endpoint);
  for (const { vip } of view.list("deletedServices")) held.vips.add(vip);
  return held;
}

/** Whether the service holds what its spec asks for. */
export function hasAll({ spec, endpoint }: Service): boolean {
  const { vip = "", ports = [] } = endpoint ?? {};
  const wanted = spec?.ports ?? [];
  return (
    vip !== "" &&
    wanted.length === ports.length &&
    wanted.every((each, index) => {
      const port = ports[index];
      if (port === undefined) return false;
      return samePort(each, each.published === 0 && isChosen(port) ? { ...port, published: 0 } : port);
    })
  );
}

function isChosen({ published }: PortSpec): boolean {
  return published >= chosenPorts.first && published <= chosenPorts.last;
}

function samePort(a: PortSpec, b: PortSpec): boolean {
  return (
    a.target === b.target && a.published === b.published && protocolOf(a) === protocolOf(b) && modeOf(a) === modeOf(b)
  );
}

function protocolOf({ protocol }: PortSpec): PortSpec_Protocol {
  return protocol === PortSpec_Protocol.UDP ? PortSpec_Protocol.UDP : PortSpec_Protocol.TCP;
}

function modeOf({ mode }: PortSpec): PortSpec_Mode {
  return mode === PortSpec_Mode.HOST ? PortSpec_Mode.HOST : PortSpec_Mode.INGRESS;
}

/** `8080/tcp` */
function portKey(port: PortSpec): string {
  return `${port.published}/${protocolOf(port) === PortSpec_Protocol.UDP ? "udp" : "tcp"}`;
}

/** Without the network's own address and the broadcast address. */
function hosts({ first, size }: Ipv4Subnet): { readonly first: number; readonly count: number } {
  return size <= 2 ? { first, count: size } : { first: first + 1, count: size - 2 };
}

function taskPool(view: View): string {
  return view.cluster?.spec?.taskPool || defaultTaskPool;
}

function vipPool(view: View): string {
  return view.cluster?.spec?.vipPool || defaultVipPool;
}

/** Ended tasks that each slot keeps. */
export function taskHistory(view: View): number {
  return view.cluster?.spec?.taskHistory ?? 5;
}
