import { BlockList, isIPv4 } from "node:net";
import type { Random } from "@warren/std";
import { flag, headerBytes, rcode, recordType, type Query } from "./message.ts";
import type { ResolvedOptions } from "./options.ts";
import { ReplyBuilder, readAddress, wireName } from "./reply.ts";
import type { Client, Resolver } from "./types.ts";

/** The data of an SOA record: a pointer to the zone's name, the mailbox (none, as in RFC 6303 §3), then serial, refresh, retry, expire, minimum. */
function soaData(owner: number, ttlSeconds: number): Buffer {
  const numbers = Buffer.alloc(20);
  for (const [i, value] of [1, 3_600, 1_200, 604_800, ttlSeconds].entries()) numbers.writeUInt32BE(value, i * 4);
  return Buffer.concat([Buffer.of(owner >>> 8, owner & 0xff), wireName("nobody.invalid"), numbers]);
}

/** Length of `soaData`. */
const soaBytes = 38;

/** The answer to ANY: one with all records would serve amplification attacks from forged senders (RFC 8482). */
const hinfoData = Buffer.from("\x07RFC8482\x00", "latin1");

/** `4.3.2.1.in-addr.arpa` → `1.2.3.4` */
function reversedAddress(name: string): string | undefined {
  if (!name.endsWith(".in-addr.arpa")) return undefined;
  const address = name.slice(0, -".in-addr.arpa".length).split(".").toReversed().join(".");
  return isIPv4(address) ? address : undefined;
}

/** Answers questions about the cluster's own names. */
export class OwnNames {
  readonly #resolver: Resolver;
  readonly #random: Random;
  readonly #domain: string;
  readonly #domainSuffix: string;
  readonly #ttlSeconds: number;
  readonly #maxUdpBytes: number;
  readonly #reverse = new BlockList();

  constructor(resolver: Resolver, random: Random, options: ResolvedOptions) {
    this.#resolver = resolver;
    this.#random = random;
    this.#domain = options.domain;
    this.#domainSuffix = `.${options.domain}`;
    this.#ttlSeconds = options.ttlSeconds;
    this.#maxUdpBytes = options.maxUdpBytes;
    for (const subnet of options.reverseSubnets) {
      const [address = "", length] = subnet.split("/");
      this.#reverse.addSubnet(address, Number(length), "ipv4");
    }
  }

  /** The reply; undefined where the name is not the cluster's. */
  reply(query: Query, client: Client, limit: number): Buffer | undefined {
    const { name } = query;
    if (name === undefined) return undefined;
    const resolved = this.#resolver.resolve(name, client);
    if (resolved === "NXDOMAIN") return this.#none(query, rcode.NXDOMAIN, limit);
    if (resolved !== undefined) return this.#addresses(query, resolved, limit);
    if (name.endsWith(this.#domainSuffix)) return this.#none(query, rcode.NXDOMAIN, limit);
    if (name === this.#domain) return this.#none(query, rcode.NOERROR, limit);
    const address = reversedAddress(name);
    return address === undefined ? undefined : this.#pointer(query, address, client, limit);
  }

  /** The minimal answer to ANY, for any name: clients ask for records by their types. */
  any(query: Query, limit: number): Buffer {
    const reply = this.#begin(query, rcode.NOERROR, 12 + hinfoData.length, limit);
    reply.answer(recordType.HINFO, this.#ttlSeconds, hinfoData);
    return reply.finish();
  }

  #begin(query: Query, code: number, recordBytes: number, limit: number): ReplyBuilder {
    return new ReplyBuilder(query, code, flag.authoritative, recordBytes, limit, this.#maxUdpBytes);
  }

  #addresses(query: Query, addresses: readonly string[], limit: number): Buffer {
    const found: Buffer[] = [];
    let { type } = query;
    for (const address of addresses) {
      const record = readAddress(address);
      if (record === undefined) continue;
      // RFC 8482 §4.1: ANY is answered with one of the sets, here that of the first address.
      if (type === recordType.ANY) type = record.type;
      if (record.type === type) found.push(record.data);
    }
    if (found.length === 0)
      return query.type === recordType.ANY ? this.any(query, limit) : this.#none(query, rcode.NOERROR, limit);
    const first = found.length === 1 ? 0 : this.#random.int(found.length);
    const reply = this.#begin(query, rcode.NOERROR, found.length * (12 + (found[0] as Buffer).length), limit);
    for (let i = 0; i < found.length; i += 1) {
      const data = found[(first + i) % found.length] as Buffer;
      if (!reply.fits(data.length)) break;
      reply.answer(type, this.#ttlSeconds, data);
    }
    return reply.finish();
  }

  #pointer(query: Query, address: string, client: Client, limit: number): Buffer | undefined {
    const name = this.#resolver.reverse?.(address, client);
    if (name === undefined) return this.#reverse.check(address) ? this.#none(query, rcode.NXDOMAIN, limit) : undefined;
    if (query.type !== recordType.PTR && query.type !== recordType.ANY) return this.#none(query, rcode.NOERROR, limit);
    const data = wireName(name);
    const reply = this.#begin(query, rcode.NOERROR, 12 + data.length, limit);
    if (reply.fits(data.length)) reply.answer(recordType.PTR, this.#ttlSeconds, data);
    return reply.finish();
  }

  /** NXDOMAIN or NODATA, with the SOA that lets the client cache it (RFC 2308 §3). */
  #none(query: Query, code: number, limit: number): Buffer {
    const name = query.name ?? "";
    // The zone's name is the end of the question's where that is under the domain, else all of it.
    const inDomain = name.endsWith(this.#domainSuffix);
    const owner = 0xc000 | (headerBytes + (inDomain ? name.length - this.#domain.length : 0));
    const reply = this.#begin(query, code, 12 + soaBytes, limit);
    if (reply.fits(soaBytes))
      reply.authority(owner, recordType.SOA, this.#ttlSeconds, soaData(owner, this.#ttlSeconds));
    return reply.finish();
  }
}
