import type { Logger } from "@warren/std";
import type { Forwarder } from "./forwarder.ts";
import { firstMetaType, internetClass, plainUdpBytes, rcode, readQuery, recordType, type Query } from "./message.ts";
import type { DnsMetrics } from "./metrics.ts";
import type { OwnNames } from "./own-names.ts";
import { ReplyBuilder, bareReply } from "./reply.ts";
import type { Client } from "./types.ts";

/** Longest message that TCP's length field can express. */
const tcpLimit = 65_535;

/** Turns a client's message into a reply, both as bytes. Sockets are the listeners'. */
export class Responder {
  readonly #names: OwnNames;
  readonly #forwarder: Forwarder;
  readonly #metrics: DnsMetrics;
  readonly #log: Logger;
  readonly #maxUdpBytes: number;

  constructor(names: OwnNames, forwarder: Forwarder, metrics: DnsMetrics, log: Logger, maxUdpBytes: number) {
    this.#names = names;
    this.#forwarder = forwarder;
    this.#metrics = metrics;
    this.#log = log;
    this.#maxUdpBytes = maxUdpBytes;
  }

  /** The reply; undefined where none is sent. It neither throws nor rejects, whatever the bytes. */
  reply(bytes: Buffer, client: Client, transport: "udp" | "tcp"): Buffer | Promise<Buffer> | undefined {
    const query = readQuery(bytes);
    if (query === "drop") {
      this.#metrics.dropped.add(1, { reason: "unreadable" });
      return undefined;
    }
    if ("rcode" in query) {
      this.#metrics.count("error");
      return bareReply(bytes, query.rcode);
    }
    const limit =
      transport === "tcp" ? tcpLimit : Math.min(this.#maxUdpBytes, query.edns?.payloadBytes ?? plainUdpBytes);
    try {
      const reply = this.#answer(query, client, limit);
      return reply instanceof Promise ? reply.catch((error: unknown) => this.#broken(query, limit, error)) : reply;
    } catch (error) {
      return this.#broken(query, limit, error);
    }
  }

  #answer(query: Query, client: Client, limit: number): Buffer | Promise<Buffer> {
    if (query.edns !== undefined && query.edns.version !== 0) return this.#refuse(query, rcode.BADVERS, limit);
    if (query.recordClass !== internetClass) return this.#refuse(query, rcode.REFUSED, limit);
    const isMeta = query.type >= firstMetaType && query.type <= recordType.ANY && query.type !== recordType.ANY;
    if (isMeta || query.type === recordType.OPT || query.type === 0) return this.#refuse(query, rcode.NOTIMP, limit);
    const own = this.#names.reply(query, client, limit);
    if (own !== undefined) {
      this.#metrics.count("names");
      return own;
    }
    if (query.type !== recordType.ANY) return this.#forwarder.reply(query, client, limit);
    this.#metrics.count("names");
    return this.#names.any(query, limit);
  }

  #refuse(query: Query, code: number, limit: number): Buffer {
    this.#metrics.count("error");
    return new ReplyBuilder(query, code, 0, 0, limit, this.#maxUdpBytes).finish();
  }

  /** A bug here or in the resolver: logged, and answered with SERVFAIL. */
  #broken(query: Query, limit: number, error: unknown): Buffer {
    this.#log.error("a question could not be answered", { name: query.name, type: query.type, error });
    return this.#refuse(query, rcode.SERVFAIL, limit);
  }
}
