import { createSocket, type RemoteInfo } from "node:dgram";
import { createServer } from "node:net";
import { decode, encode, streamEncode, type DecodedPacket, type Packet } from "dns-packet";

/** What an upstream does with a question; undefined keeps silent. */
export type Behaviour = (question: DecodedPacket, transport: "udp" | "tcp") => Packet | Buffer | undefined;

export interface HeardQuestion {
  readonly packet: DecodedPacket;
  readonly transport: "udp" | "tcp";
  readonly port: number;
}

/** A scripted name server on loopback, built on a DNS library that shares no code with ours. */
export class FakeUpstream implements AsyncDisposable {
  readonly heard: HeardQuestion[] = [];
  behaviour: Behaviour;
  #held: (() => void)[] | undefined;
  readonly #udp = createSocket("udp4");
  readonly #tcp = createServer();

  private constructor(behaviour: Behaviour) {
    this.behaviour = behaviour;
  }

  static async open(behaviour: Behaviour): Promise<FakeUpstream> {
    for (let draw = 1; ; draw += 1) {
      const fake = new FakeUpstream(behaviour);
      try {
        await fake.#listen();
        return fake;
      } catch (error) {
        // The port that was drawn for UDP may be taken for TCP.
        if (draw === 8) throw error;
        await new Promise<void>((resolve) => fake.#udp.close(resolve));
      }
    }
  }

  async #listen(): Promise<void> {
    this.#udp.on("message", (message, from) => this.#onDatagram(message, from));
    await new Promise<void>((resolve) => void this.#udp.bind(0, "127.0.0.1", resolve));
    this.#tcp.on("connection", (socket) => {
      let received = Buffer.alloc(0);
      socket.on("error", () => socket.destroy());
      socket.on("data", (chunk: Buffer) => {
        received = Buffer.concat([received, chunk]);
        if (received.length < 2 || received.length < 2 + received.readUInt16BE()) return;
        const packet = decode(received.subarray(2, 2 + received.readUInt16BE()));
        this.heard.push({ packet, transport: "tcp", port: socket.remotePort ?? 0 });
        const reply = this.behaviour(packet, "tcp");
        if (reply !== undefined && !Buffer.isBuffer(reply)) socket.write(streamEncode(reply));
        else if (reply !== undefined) socket.end(reply);
      });
    });
    await new Promise<void>((resolve, reject) => {
      this.#tcp.once("error", reject);
      this.#tcp.listen(this.#udp.address().port, "127.0.0.1", resolve);
    });
  }

  get name(): string {
    return `${this.#udp.address().address}:${this.#udp.address().port}`;
  }

  /** Keeps replies back until `release`. */
  hold(): void {
    this.#held = [];
  }

  release(): void {
    for (const send of this.#held ?? []) send();
    this.#held = undefined;
  }

  /** Sends bytes to a port of loopback, as the upstream. */
  sendRaw(bytes: Buffer, port: number): void {
    this.#udp.send(bytes, port, "127.0.0.1");
  }

  #onDatagram(message: Buffer, from: RemoteInfo): void {
    const packet = decode(message);
    this.heard.push({ packet, transport: "udp", port: from.port });
    const reply = this.behaviour(packet, "udp");
    if (reply === undefined) return;
    const bytes = Buffer.isBuffer(reply) ? reply : encode(reply);
    const send = (): void => this.#udp.send(bytes, from.port, from.address);
    if (this.#held === undefined) send();
    else this.#held.push(send);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#udp.close(resolve));
    await new Promise<void>((resolve) => void this.#tcp.close(() => resolve()));
  }
}

/** A response that repeats the question, with what is given. */
export function response(
  question: DecodedPacket,
  parts: Partial<Packet> & { rcode?: number; flagBits?: number },
): Packet {
  return {
    type: "response",
    id: question.id ?? 0,
    flags: 0x0180 | (parts.flagBits ?? 0) | (parts.rcode ?? 0),
    questions: question.questions ?? [],
    answers: parts.answers ?? [],
    authorities: parts.authorities ?? [],
    additionals: parts.additionals ?? [],
  };
}

/** Answers every A question with one address. */
export function always(address: string, ttl = 60): Behaviour {
  return (question) =>
    response(question, { answers: [{ type: "A", name: question.questions?.[0]?.name ?? "", ttl, data: address }] });
}
