import { newId, type Clock, type Random } from "@warren/std";
import { unless, type Connection } from "./connection.ts";
import { LeasesService } from "./generated/containerd/leases.ts";

/** How long what a broken pull brought is kept for the next try, ms. */
const leaseMs = 24 * 3_600_000;

/** What garbage collection leaves alone while it is made. */
export class Leases {
  readonly #connection: Connection;
  readonly #random: Random;
  readonly #clock: Clock;

  constructor(connection: Connection, random: Random, clock: Clock) {
    this.#connection = connection;
    this.#random = random;
    this.#clock = clock;
  }

  /**
   * Runs `work`, whose makings are kept by the lease until a record refers to them. When it fails, or this process ends,
   * the lease stays for a day from its beginning: the next one of the same purpose takes over what it holds.
   *
   * @param purpose of letters, digits and dashes
   */
  async hold<T>(purpose: string, work: (lease: string) => Promise<T>): Promise<T> {
    const earlier = await this.#of(purpose);
    const id = `${purpose}-${newId(this.#random)}`;
    const expires = new Date(this.#clock.now() + leaseMs).toISOString().replace(/\.\d+Z$/, "Z");
    await this.#connection.unary(LeasesService.create, { id, labels: { "containerd.io/gc.expire": expires } });
    for (const old of earlier) {
      const listed = await unless(
        this.#connection.unary(LeasesService.listResources, { id: old }),
        "RUNTIME_NOT_FOUND",
      );
      for (const { id: resource, type } of listed?.resources ?? []) await this.keep(id, type, resource);
      await this.#end(old);
    }
    const result = await work(id);
    await this.#end(id);
    return result;
  }

  /** Takes what may be there already into a lease. Whether it was there is for the caller to see, afterwards. */
  async keep(lease: string, type: string, id: string): Promise<void> {
    await this.#connection.unary(LeasesService.addResource, { id: lease, resource: { id, type } });
  }

  /** Ends all, as when nothing is to be left. */
  async endAll(): Promise<void> {
    const { leases } = await this.#connection.unary(LeasesService.list, { filters: [] });
    for (const [i, { id }] of leases.entries()) await this.#end(id, i === leases.length - 1);
  }

  async #of(purpose: string): Promise<string[]> {
    const { leases } = await this.#connection.unary(LeasesService.list, {
      filters: [`id~=${JSON.stringify(`^${purpose}-`)}`],
    });
    return leases.map(({ id }) => id);
  }

  /** @param sync whether containerd collects what only it kept before it answers */
  async #end(id: string, sync = false): Promise<void> {
    await unless(this.#connection.unary(LeasesService.delete, { id, sync }), "RUNTIME_NOT_FOUND");
  }
}
