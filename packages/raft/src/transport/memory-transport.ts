import { RaftError } from "../errors.ts";
import type { Message } from "../core/index.ts";
import type { SnapshotReader } from "../storage/index.ts";
import type { Member, Transport, TransportHandler } from "./transport.ts";

/** A network in memory: members of one process, by their ids. */
export class MemoryNetwork {
  private readonly handlers = new Map<number, TransportHandler>();
  /** Whether messages pass from one member to another now. */
  reaches: (from: number, to: number) => boolean = () => true;

  transport(): Transport {
    return new MemoryTransport(this, this.handlers);
  }
}

class MemoryTransport implements Transport {
  private readonly network: MemoryNetwork;
  private readonly handlers: Map<number, TransportHandler>;
  private handler: TransportHandler | undefined;
  private peers: ReadonlySet<number> = new Set();
  /** Why each peer refused this member, if it did; of a peer that started anew nothing yet. */
  private admitted = new WeakMap<TransportHandler, Promise<string | undefined>>();

  constructor(network: MemoryNetwork, handlers: Map<number, TransportHandler>) {
    this.network = network;
    this.handlers = handlers;
  }

  async start(handler: TransportHandler): Promise<void> {
    this.handler = handler;
    this.handlers.set(handler.hello.from, handler);
  }

  setPeers(members: readonly Member[]): void {
    this.peers = new Set(members.map(({ id }) => id));
    this.admitted = new WeakMap();
  }

  send(messages: readonly Message[]): void {
    for (const [to, batch] of Map.groupBy(messages, (m) => m.to)) {
      // As bytes: neither side may see what the other does to a message later.
      const bytes = this.handler?.encode(batch);
      if (bytes === undefined) continue;
      const deliver = async (): Promise<void> => {
        const target = await this.admission(to);
        target.receive(target.decode(bytes));
      };
      // A frame that can't be read is a message that did not arrive.
      deliver().catch(() => this.handler?.unreachable(to));
    }
  }

  async sendSnapshot(message: Message, { bytes, checksum, chunks }: SnapshotReader): Promise<void> {
    const { to } = message;
    try {
      const target = await this.admission(to);
      const connected = (): boolean => this.handler !== undefined && this.find(to) === target;
      const from = (offset: number): AsyncIterable<Uint8Array> => whileConnected(after(chunks, offset), to, connected);
      await target.receiveSnapshot(message, { bytes, checksum, from });
      if (!connected()) throw unreachable(to);
    } catch (error) {
      throw RaftError.is(error, "RAFT_PEER_UNREACHABLE") ? error : unreachable(to, error);
    }
  }

  async close(): Promise<void> {
    const { handler } = this;
    if (handler !== undefined && this.handlers.get(handler.hello.from) === handler)
      this.handlers.delete(handler.hello.from);
    this.handler = undefined;
  }

  private find(to: number): TransportHandler | undefined {
    const { handler, network } = this;
    const isConnected = handler !== undefined && this.peers.has(to) && network.reaches(handler.hello.from, to);
    return isConnected ? this.handlers.get(to) : undefined;
  }

  /** A peer that has admitted this member. @throws RaftError `RAFT_PEER_UNREACHABLE`, and what `admit` throws */
  private async admission(to: number): Promise<TransportHandler> {
    const { handler, admitted } = this;
    const target = this.find(to);
    if (handler === undefined || target === undefined) throw unreachable(to);
    const asked = admitted.get(target);
    const answer = asked ?? target.admit(handler.hello);
    admitted.set(target, answer);
    let why: string | undefined;
    try {
      why = await answer;
    } catch (error) {
      admitted.delete(target);
      throw error;
    }
    if (this.find(to) !== target) throw unreachable(to);
    if (why === undefined) return target;
    if (asked === undefined) {
      // Asked again with the next message.
      admitted.delete(target);
      target.refused({ peer: handler.hello.from, by: "here", why });
      this.handler?.refused({ peer: to, by: "there", why });
    }
    throw unreachable(to);
  }
}

async function* whileConnected(
  chunks: AsyncIterable<Uint8Array>,
  to: number,
  connected: () => boolean,
): AsyncGenerator<Uint8Array, void, void> {
  for await (const chunk of chunks) {
    if (!connected()) throw unreachable(to);
    yield chunk;
  }
}

export function unreachable(peer: number, cause?: unknown): RaftError {
  return new RaftError({ code: "RAFT_PEER_UNREACHABLE", peer }, `member ${peer} can't be reached`, { cause });
}

/** The same bytes but for the first `offset`. */
export async function* after(
  chunks: AsyncIterable<Uint8Array>,
  offset: number,
): AsyncGenerator<Uint8Array, void, void> {
  let skip = offset;
  for await (const chunk of chunks) {
    const rest = chunk.subarray(Math.min(skip, chunk.length));
    skip -= chunk.length - rest.length;
    if (rest.length > 0) yield rest;
  }
}
