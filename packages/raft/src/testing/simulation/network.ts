/**
 * A network between simulated members: loses, delays, repeats and reorders messages, and cuts links one way or both.
 * Messages travel as the bytes that production sends.
 */
import type { Random } from "@warren/std";

import type { Message } from "../../core/index.ts";
import { RaftError } from "../../errors.ts";
import type { SnapshotReader } from "../../storage/index.ts";
import { after, unreachable } from "../../transport/memory-transport.ts";
import type { Hello, Member, Transport, TransportHandler } from "../../transport/transport.ts";
import type { Process, Scheduler } from "./scheduler.ts";

/** How bad the network is now. */
export interface Weather {
  /** Of 1,000 batches, how many are lost, and how many come twice. */
  readonly lossPerMille: number;
  readonly repeatPerMille: number;
  readonly minDelayMs: number;
  readonly maxDelayMs: number;
}

export const fairWeather: Weather = { lossPerMille: 0, repeatPerMille: 0, minDelayMs: 0.1, maxDelayMs: 2 };

/** After this a snapshot that does not move on is given up, as a connection's keepalive would. */
const snapshotIdleMs = 2_000;

interface Parcel {
  readonly from: number;
  readonly to: number;
  readonly bytes: Uint8Array;
  /** It may be lost, and is never repeated. */
  readonly once: boolean;
}

interface Endpoint {
  readonly process: Process;
  readonly handler: TransportHandler;
}

export interface NetworkObserver {
  /** A frame that was admitted could not be taken. */
  unreadable(by: Hello, error: unknown): void;
  sent(from: number, m: Message): void;
  /** Summed up into the trace. */
  delivered(from: number, to: number, bytes: Uint8Array): void;
}

export class SimulatedNetwork {
  weather: Weather = fairWeather;
  /** Links that carry nothing, as `from * 1000 + to`. */
  readonly cut: Set<number> = new Set();
  private readonly scheduler: Scheduler;
  private readonly random: Random;
  private readonly observer: NetworkObserver;
  private readonly endpoints = new Map<number, Endpoint>();

  constructor(scheduler: Scheduler, random: Random, observer: NetworkObserver) {
    this.scheduler = scheduler;
    this.random = random;
    this.observer = observer;
  }

  reaches(from: number, to: number): boolean {
    return !this.cut.has(linkOf(from, to));
  }

  cutLink(from: number, to: number): void {
    this.cut.add(linkOf(from, to));
  }

  transport(process: Process): Transport {
    return new SimulatedTransport(this, process);
  }

  /** @internal */
  listen(endpoint: Endpoint): void {
    this.endpoints.set(endpoint.handler.hello.from, endpoint);
  }

  /** @internal */
  unlisten(process: Process): void {
    for (const [id, endpoint] of this.endpoints) if (endpoint.process === process) this.endpoints.delete(id);
  }

  /** Who is there and can be reached now. @internal */
  find(from: number, to: number): Endpoint | undefined {
    const endpoint = this.endpoints.get(to);
    return endpoint?.process.alive === true && this.reaches(from, to) ? endpoint : undefined;
  }

  /** @internal */
  unreadable(by: Hello, error: unknown): void {
    this.observer.unreadable(by, error);
  }

  /** @internal */
  note(from: number, messages: readonly Message[]): void {
    for (const m of messages) this.observer.sent(from, m);
  }

  /** Carries bytes, if they are lucky. @internal */
  carry(
    { from, to, bytes, once }: Parcel,
    arrive: (endpoint: Endpoint) => void,
    lost: () => void = () => undefined,
  ): void {
    const { lossPerMille, repeatPerMille } = this.weather;
    const repeated = this.random.int(1_000) < repeatPerMille && !once;
    const copies = this.random.int(1_000) < lossPerMille ? 0 : repeated ? 2 : 1;
    if (copies === 0 && this.random.int(2) === 0) lost();
    for (let copy = 0; copy < copies; copy++) {
      this.scheduler.after(this.delayMs(), () => {
        const endpoint = this.find(from, to);
        if (endpoint === undefined) {
          lost();
          return;
        }
        // One that is stopped gets it when it goes on.
        this.scheduler.after(
          0,
          () => {
            this.observer.delivered(from, to, bytes);
            arrive(endpoint);
          },
          endpoint.process,
        );
      });
    }
  }

  /** @internal */
  delayMs(): number {
    const { minDelayMs, maxDelayMs } = this.weather;
    // Mostly near the least, now and then near the most.
    const share = this.random.next();
    return minDelayMs + (maxDelayMs - minDelayMs) * share * share * share;
  }

  /** @internal */
  wait(delayMs: number, process: Process): Promise<void> {
    return new Promise((resolve) => this.scheduler.after(delayMs, resolve, process));
  }

  /** @internal */
  unlucky(): boolean {
    return this.random.int(1_000) < this.weather.lossPerMille;
  }
}

class SimulatedTransport implements Transport {
  private readonly network: SimulatedNetwork;
  private readonly process: Process;
  private handler: TransportHandler | undefined;
  private peers = new Set<number>();
  /** Why each process met refused us, if it did. */
  private readonly admitted = new Map<Process, Promise<string | undefined>>();

  constructor(network: SimulatedNetwork, process: Process) {
    this.network = network;
    this.process = process;
  }

  async start(handler: TransportHandler): Promise<void> {
    this.handler = handler;
    this.network.listen({ process: this.process, handler });
    for (const peer of this.peers) this.greet(peer);
  }

  setPeers(members: readonly Member[]): void {
    const before = this.peers;
    this.peers = new Set(members.map(({ id }) => id));
    for (const peer of this.peers) if (!before.has(peer)) this.greet(peer);
  }

  send(messages: readonly Message[]): void {
    const { handler } = this;
    if (handler === undefined) return;
    const from = handler.hello.from;
    this.network.note(from, messages);
    for (const [to, batch] of Map.groupBy(messages, (m) => m.to)) {
      const unreachable = (): void => {
        if (this.process.alive) this.handler?.unreachable(to);
      };
      if (!this.peers.has(to)) {
        unreachable();
        continue;
      }
      // As bytes: neither side may see what the other does to a message later.
      const bytes = handler.encode(batch);
      const once = batch.some(({ type }) => type === "MsgProp");
      this.network.carry({ from, to, bytes, once }, (endpoint) => this.hand(endpoint, bytes, unreachable), unreachable);
    }
  }

  async sendSnapshot(message: Message, snapshot: SnapshotReader): Promise<void> {
    const { handler } = this;
    if (handler === undefined) throw unreachable(message.to);
    const from = handler.hello.from;
    this.network.note(from, [message]);
    await this.network.wait(this.network.delayMs(), this.process);
    const endpoint = this.network.find(from, message.to);
    if (endpoint === undefined || !this.peers.has(message.to)) throw unreachable(message.to);
    if ((await this.admission(endpoint)) !== undefined) throw unreachable(message.to);
    const [copy] = endpoint.handler.decode(handler.encode([message])) as [Message];
    const { bytes, checksum } = snapshot;
    try {
      const received = endpoint.handler.receiveSnapshot(copy, {
        bytes,
        checksum,
        from: (offset) => this.stream(from, message.to, endpoint.process, after(snapshot.chunks, offset)),
      });
      // A receiver that is gone never answers.
      await this.patiently(received, message.to, this.process);
    } catch (error) {
      throw RaftError.is(error, "RAFT_PEER_UNREACHABLE") ? error : unreachable(message.to, error);
    }
  }

  async close(): Promise<void> {
    this.network.unlisten(this.process);
    this.handler = undefined;
  }

  private hand(endpoint: Endpoint, bytes: Uint8Array, unreachable: () => void): void {
    const deliver = async (): Promise<void> => {
      if ((await this.admission(endpoint)) === undefined) endpoint.handler.receive(endpoint.handler.decode(bytes));
      else unreachable();
    };
    deliver().catch((error: unknown) => {
      this.network.unreadable(endpoint.handler.hello, error);
      unreachable();
    });
  }

  /** Connects, as production does at once, so that members have met before they need each other. */
  private greet(to: number): void {
    if (this.handler === undefined) return;
    const { from } = this.handler.hello;
    const hello = { from, to, bytes: new Uint8Array(0), once: true };
    this.network.carry(hello, (endpoint) => void this.admission(endpoint));
  }

  private admission(endpoint: Endpoint): Promise<string | undefined> {
    const { handler } = this;
    if (handler === undefined) return Promise.resolve("the sender is closed");
    let answer = this.admitted.get(endpoint.process);
    if (answer === undefined) {
      // A member that can't say whether it knows us is one that ends.
      answer = endpoint.handler.admit(handler.hello).catch(() => "it failed");
      const asked = answer.then((why) => {
        if (why === undefined) return undefined;
        // Asked again with the next message.
        this.admitted.delete(endpoint.process);
        endpoint.handler.refused({ peer: handler.hello.from, by: "here", why });
        if (this.process.alive) handler.refused({ peer: endpoint.handler.hello.from, by: "there", why });
        return why;
      });
      this.admitted.set(endpoint.process, asked);
      return asked;
    }
    return answer;
  }

  private async *stream(
    from: number,
    to: number,
    receiver: Process,
    chunks: AsyncIterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array, void, void> {
    const source = chunks[Symbol.asyncIterator]();
    for (;;) {
      const next = await this.patiently(source.next(), to, receiver);
      await this.network.wait(this.network.delayMs(), receiver);
      const isConnected = this.handler !== undefined && this.network.find(from, to)?.process === receiver;
      if (!isConnected || this.network.unlucky()) throw unreachable(to);
      if (next.done === true) return;
      yield Uint8Array.from(next.value);
    }
  }

  /** The other side's process may be gone, and its promise never settle. */
  private async patiently<T>(work: Promise<T>, to: number, waiter: Process): Promise<T> {
    const late = this.network.wait(snapshotIdleMs, waiter).then(() => Promise.reject(unreachable(to)));
    late.catch(() => undefined);
    return Promise.race([work, late]);
  }
}

const linkOf = (from: number, to: number): number => from * 1_000 + to;
