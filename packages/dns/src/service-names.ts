import type { Client, Resolved, Resolver } from "./types.ts";

/** What the name server knows of a service. */
export interface NamedService {
  /** Case-insensitive. Underscores are allowed: `stack_web`. */
  readonly name: string;
  /** Other names that lead to it. Services of one network may share one, and then both answer. */
  readonly aliases?: readonly string[];
  /** Ids of the networks that its tasks are on. */
  readonly networks: readonly string[];
  /** Without one the name leads to the tasks' own addresses. */
  readonly vip?: string;
  readonly tasks: readonly NamedTask[];
}

export interface NamedTask {
  /**
   * The key of its slot. A number, from 1, is a name under the service's: `1.web`. Two tasks share a slot while one replaces
   * the other.
   */
  readonly slot: string;
  readonly address: string;
  readonly healthy: boolean;
  /** No name leads to it. @default false */
  readonly draining?: boolean;
}

export interface ServiceNamesOptions {
  /** The name under which every service is found, too. @default "warren" */
  readonly domain?: string;
  /** Ids of the networks that the task with this address is on; empty for a client that is no task. */
  readonly clientNetworks: (address: string) => readonly string[];
}

interface Entry {
  readonly networks: readonly string[];
  /** Addresses that the bare name leads to: the VIP, or those of the healthy tasks. */
  readonly bareName: readonly string[];
  readonly tasks: readonly string[];
  readonly slots: ReadonlyMap<string, readonly string[]>;
}

interface ReverseEntry {
  readonly networks: readonly string[];
  readonly name: string;
}

/**
 * The names of a cluster's services, as each client may see them: `web` and `web.warren` → VIP, `tasks.web` → addresses
 * of the healthy tasks, `1.web` → those of slot 1, healthy or not, since the members of a replicated database, say, have to
 * find each other before any of them is healthy.
 *
 * A service is visible to clients that share a network with it. A name that the client may not see does not exist for it,
 * and is not asked upstream either. An alias that services share leads to each of them that is visible.
 */
export class ServiceNames implements Resolver {
  readonly #suffix: string;
  readonly #clientNetworks: (address: string) => readonly string[];
  #names: ReadonlyMap<string, readonly Entry[]> = new Map();
  #addresses: ReadonlyMap<string, ReverseEntry> = new Map();

  constructor(options: ServiceNamesOptions) {
    this.#suffix = `.${options.domain ?? "warren"}`;
    this.#clientNetworks = options.clientNetworks;
  }

  /** The names are exactly those of these services, from the next question on. */
  update(services: readonly NamedService[]): void {
    const names = new Map<string, Entry[]>();
    const addresses = new Map<string, ReverseEntry>();
    for (const service of services) {
      const entry = entryOf(service);
      for (const name of new Set([service.name, ...(service.aliases ?? [])].map((each) => each.toLowerCase()))) {
        const same = names.get(name);
        if (same === undefined) names.set(name, [entry]);
        else same.push(entry);
      }
      const { networks } = service;
      const name = service.name.toLowerCase() + this.#suffix;
      if (service.vip !== undefined) addresses.set(service.vip, { networks, name });
      for (const { slot, address } of service.tasks.filter(hasName))
        addresses.set(address, { networks, name: slotNumber.test(slot) ? `${slot}.${name}` : name });
    }
    this.#names = names;
    this.#addresses = addresses;
  }

  resolve(asked: string, client: Client): Resolved {
    let name = asked;
    // More than once where a client's resolver appends the domain to a name that has it.
    while (name.endsWith(this.#suffix)) name = name.slice(0, -this.#suffix.length);
    const exact = this.#names.get(name);
    if (exact !== undefined) return this.#visible(exact, client, ({ bareName }) => bareName);
    const dot = name.indexOf(".");
    if (dot < 0) return undefined;
    const service = this.#names.get(name.slice(dot + 1));
    if (service === undefined) return undefined;
    const head = name.slice(0, dot);
    if (head === "tasks") return this.#visible(service, client, ({ tasks }) => tasks);
    if (!slotNumber.test(head)) return undefined;
    const addresses = this.#visible(service, client, ({ slots }) => slots.get(head) ?? []);
    return addresses.length === 0 ? "NXDOMAIN" : addresses;
  }

  reverse(address: string, client: Client): string | undefined {
    const entry = this.#addresses.get(address);
    return entry !== undefined && intersect(entry.networks, this.#clientNetworks(client.address))
      ? entry.name
      : undefined;
  }

  #visible(
    entries: readonly Entry[],
    client: Client,
    of: (entry: Entry) => readonly string[],
  ): readonly string[] | "NXDOMAIN" {
    const networks = this.#clientNetworks(client.address);
    let found: readonly string[] | undefined;
    for (const entry of entries) {
      if (!intersect(entry.networks, networks)) continue;
      const addresses = of(entry);
      found = found === undefined ? addresses : [...found, ...addresses];
    }
    return found ?? "NXDOMAIN";
  }
}

function intersect(some: readonly string[], others: readonly string[]): boolean {
  for (const network of some) if (others.includes(network)) return true;
  return false;
}

/** The key of a replicated service's slot. */
const slotNumber = /^[1-9]\d*$/;

function hasName({ draining = false }: NamedTask): boolean {
  return !draining;
}

function entryOf({ networks, vip, tasks: all }: NamedService): Entry {
  const tasks = all.filter(hasName);
  const healthy = tasks.filter((task) => task.healthy).map(({ address }) => address);
  const slots = new Map<string, string[]>();
  // Healthy tasks of a slot hide its others: while a task is replaced, the name leads to the one that answers.
  for (const wanted of [true, false]) {
    const filled = new Set(slots.keys());
    for (const { slot, address } of tasks.filter((task) => task.healthy === wanted && !filled.has(task.slot))) {
      const same = slots.get(slot);
      if (same === undefined) slots.set(slot, [address]);
      else same.push(address);
    }
  }
  return { networks, bareName: vip === undefined ? healthy : [vip], tasks: healthy, slots };
}
