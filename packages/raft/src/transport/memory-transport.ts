import { RaftError } from "../errors.ts";
import type { Member, Transport, TransportHandler } from "./transport.ts";

/** A network in memory: members of one process, by their ids. */
export class MemoryNetwork {
  private readonly handlers = new Map<number, TransportHandler>();
  /** Whether messages pass from one member to another now. */
  reaches: (from: number, to: number) => boolean = () => true;

  transport(): Transport {
    let self: TransportHandler | undefined;
    /** By the run of the other member: one that was started again is greeted again. */
    let admitted = new Map<TransportHandler, Promise<string | undefined>>();
    const peer = async (to: number): Promise<TransportHandler | undefined> => {
      const target = this.handlers.get(to);
      if (self === undefined || target === undefined || !this.reaches(self.hello.from, to)) return undefined;
      let answer = admitted.get(target);
      if (answer === undefined) admitted.set(target, (answer = target.admit(self.hello)));
      const why = await answer;
      if (why === undefined) return target;
      target.refused({ peer: self.hello.from, by: "here", why });
      self?.refused({ peer: to, by: "there", why });
      // Asked again with the next message.
      if (admitted.get(target) === answer) admitted.delete(target);
      return undefined;
    };
    return {
      start: async (handler) => {
        self = handler;
        this.handlers.set(handler.hello.from, handler);
      },
      setPeers: (_peers: readonly Member[]) => void (admitted = new Map()),
      send(messages) {
        for (const [to, batch] of Map.groupBy(messages, (m) => m.to)) {
          // As bytes: neither side may see what the other does to a message later.
          const bytes = self?.encode(batch);
          if (bytes === undefined) continue;
          const deliver = async (): Promise<void> => {
            const target = await peer(to);
            if (target === undefined) self?.unreachable(to);
            else target.receive(target.decode(bytes));
          };
          // A frame that can't be read is a message that did not arrive.
          deliver().catch(() => self?.unreachable(to));
        }
      },
      async sendSnapshot(message, snapshot) {
        const target = await peer(message.to);
        if (target === undefined) throw unreachable(message.to);
        const { bytes, checksum } = snapshot;
        await target.receiveSnapshot(message, { bytes, checksum, from: (offset) => after(snapshot.chunks, offset) });
      },
      close: async () => {
        if (self !== undefined && this.handlers.get(self.hello.from) === self) this.handlers.delete(self.hello.from);
        self = undefined;
      },
    };
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
