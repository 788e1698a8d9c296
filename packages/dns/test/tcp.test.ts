import { connect } from "node:net";
import { decode, encode, streamEncode } from "dns-packet";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startDnsServer, type DnsServer, type DnsServerOptions } from "@warren/dns";
import { FakeClock, RecordingMetrics, until } from "@warren/std/testing";
import { ask, data, question, rcodeOf, sendStream } from "./ask.ts";
import { FakeUpstream, always } from "./fake-upstream.ts";

let resources: AsyncDisposableStack;
let clock: FakeClock;
let metrics: RecordingMetrics;
let upstream: FakeUpstream;
beforeEach(async () => {
  resources = new AsyncDisposableStack();
  clock = new FakeClock();
  metrics = new RecordingMetrics();
  upstream = resources.use(await FakeUpstream.open(always("192.0.2.1")));
});
afterEach(() => resources.disposeAsync());

async function server(tcp: DnsServerOptions["tcp"] = {}): Promise<DnsServer> {
  const resolver = { resolve: (name: string) => (name === "web" ? ["10.96.0.10"] : undefined) };
  const options = { listen: [{ address: "127.0.0.1", port: 0 }], upstreams: [upstream.name], tcp };
  return resources.use(await startDnsServer({ clock, metrics, resolver }, options));
}

/** A connection that is open, and how it ends. */
async function open(dns: DnsServer) {
  const [{ address, port } = { address: "", port: 0 }] = dns.addresses;
  const socket = connect(port, address);
  let closed = false;
  const received: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => received.push(chunk));
  socket.on("error", () => undefined);
  socket.on("close", () => (closed = true));
  await new Promise<void>((resolve) => void socket.once("connect", resolve));
  resources.defer(() => void socket.destroy());
  return { socket, bytes: () => Buffer.concat(received), isClosed: () => closed };
}

const connections = (): number => metrics.values.get("warren_dns_tcp_connections") ?? 0;

describe("a connection", () => {
  test("carries many questions, and a quick answer does not wait for a slow one", async () => {
    const dns = await server();
    upstream.hold();
    const bytes = Buffer.concat([
      streamEncode(question("example.org", "A", { id: 1 })),
      streamEncode(question("web", "A", { id: 2 })),
    ]);
    const replies = sendStream(dns, bytes, 2);
    await until("the slow one is asked upstream", () => upstream.heard.length === 1);
    upstream.release();
    expect((await replies).map((reply) => decode(reply).id)).toEqual([2, 1]);
  });

  test("may bring its question a byte at a time", async () => {
    const dns = await server();
    const { socket, bytes } = await open(dns);
    for (const byte of streamEncode(question("web", "A"))) socket.write(Buffer.of(byte));
    await until("it is answered", () => bytes().length > 2);
    expect(data(decode(bytes().subarray(2)))).toEqual(["10.96.0.10"]);
  });

  test("whose client has ended its side is closed when all is answered", async () => {
    const dns = await server();
    upstream.hold();
    const { socket, bytes, isClosed } = await open(dns);
    socket.end(streamEncode(question("example.org", "A")));
    await until("it is asked upstream", () => upstream.heard.length === 1);
    upstream.release();
    await until("it is closed", isClosed);
    expect(data(decode(bytes().subarray(2)))).toEqual(["192.0.2.1"]);
  });

  test("without a whole question for ten seconds is closed, however busy with parts of one", async () => {
    const dns = await server();
    const { socket, isClosed } = await open(dns);
    await until("it is accepted", () => connections() === 1);
    clock.advance(9_000);
    socket.write(Buffer.of(0));
    expect(data(await ask(dns, "web", "A"))).toEqual(["10.96.0.10"]);
    clock.advance(1_000);
    await until("it is closed", isClosed);
    await until("it is counted so", () => connections() === 0);
  });

  test("stays open for ten seconds after its last answer", async () => {
    const dns = await server();
    const { socket, bytes, isClosed } = await open(dns);
    await until("it is accepted", () => connections() === 1);
    clock.advance(9_000);
    socket.write(streamEncode(question("web", "A")));
    await until("it is answered", () => bytes().length > 2);
    clock.advance(9_000);
    const before = bytes().length;
    socket.write(streamEncode(question("web", "A")));
    await until("it is answered again", () => bytes().length > before);
    expect(isClosed()).toBe(false);
    clock.advance(10_000);
    await until("it is closed", isClosed);
  });

  test("is not read further while its limit of questions is under way", async () => {
    const dns = await server({ pipelined: 2 });
    upstream.hold();
    const names = ["a.org", "b.org", "c.org", "d.org", "e.org"];
    const replies = sendStream(
      dns,
      Buffer.concat(names.map((name, id) => streamEncode(question(name, "A", { id })))),
      5,
    );
    await until("two are under way", () => upstream.heard.length === 2);
    expect(data(await ask(dns, "web", "A"))).toEqual(["10.96.0.10"]);
    expect(upstream.heard).toHaveLength(2);
    upstream.release();
    expect((await replies).map((reply) => decode(reply).id)).toEqual(expect.arrayContaining([0, 1, 2, 3, 4]));
  });

  test("that brings no DNS message is closed, and a malformed question is answered with FORMERR", async () => {
    const dns = await server();
    const { socket, isClosed } = await open(dns);
    socket.write(Buffer.of(0, 3, 1, 2, 3));
    await until("it is closed", isClosed);
    const broken = encode(question("web", "A")).subarray(0, -1);
    const [reply] = await sendStream(dns, Buffer.concat([Buffer.of(0, broken.length), broken]), 1);
    expect(rcodeOf(decode(reply as Buffer))).toBe(1);
  });

  test("whose client does not read is closed before its answers fill our memory", async () => {
    const dns = await server();
    const { socket, isClosed } = await open(dns);
    socket.pause();
    const one = streamEncode(question("web", "A"));
    const many = Buffer.concat(Array.from({ length: 4_000 }, () => one));
    for (let i = 0; i < 100; i += 1) socket.write(many);
    await until("it is closed", () => isClosed() || (connections() === 0 && socket.resume() === undefined));
  });

  test("past the limit of one client, or of all, is closed", async () => {
    const dns = await server({ connections: 3, connectionsPerClient: 2 });
    const first = await open(dns);
    await open(dns);
    await until("two are accepted", () => connections() === 2);
    const third = await open(dns);
    await until("the third is closed", third.isClosed);
    expect(metrics.values.get('warren_dns_dropped_total{reason="too many connections"}')).toBe(1);
    first.socket.destroy();
    await until("there is room", () => connections() === 1);
    expect(data(await ask(dns, "web", "A", { transport: "tcp" }))).toEqual(["10.96.0.10"]);
  });
});
