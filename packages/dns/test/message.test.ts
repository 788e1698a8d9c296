import { createSocket } from "node:dgram";
import { decode, encode, type DecodedPacket, type RecordType } from "dns-packet";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startDnsServer, type DnsServer } from "@warren/dns";
import { silentLogger, systemClock, systemRandom } from "@warren/std";
import { RecordingLogger } from "@warren/std/testing";
import { readAnswer } from "../src/cached-answer.ts";
import { Forwarder } from "../src/forwarder.ts";
import { readQuery } from "../src/message.ts";
import { DnsMetrics } from "../src/metrics.ts";
import { resolveOptions } from "../src/options.ts";
import { OwnNames } from "../src/own-names.ts";
import { Responder } from "../src/responder.ts";
import { ask, data, question, sendDatagram } from "./ask.ts";

const label = fc.stringMatching(/^[a-zA-Z0-9_-]{1,63}$/);
const name = fc.array(label, { minLength: 1, maxLength: 3 }).map((labels) => labels.join("."));
const type = fc.constantFrom<RecordType>("A", "AAAA", "PTR", "TXT", "MX", "SOA", "CNAME", "NS", "SRV");
const edns = fc.option(
  fc.record({ udpPayloadSize: fc.integer({ min: 1, max: 65_535 }), flags: fc.constantFrom(0, 0x8000) }),
  { nil: undefined },
);
const query = fc
  .record({ name, type, id: fc.integer({ min: 0, max: 65_535 }), edns })
  .map(({ name: asked, type: of, id, edns: opt }) => ({
    asked,
    of,
    id,
    opt,
    bytes: encode(question(asked, of, { id, ...(opt === undefined ? {} : { edns: opt }) })),
  }));
const limits = { maxTtlSeconds: 86_400, maxNegativeTtlSeconds: 900 };

test("a question is read as another implementation wrote it", () => {
  fc.assert(
    fc.property(query, ({ asked, opt, bytes }) => {
      const read = readQuery(bytes);
      if (read === "drop" || "rcode" in read) throw new Error("not read");
      expect(read.name).toBe(asked.toLowerCase());
      expect(read.type).toBe(bytes.readUInt16BE(read.end - 4));
      expect(read.recordClass).toBe(1);
      expect(read.edns).toEqual(
        opt && { payloadBytes: Math.max(512, opt.udpPayloadSize), version: 0, dnssecOk: opt.flags !== 0 },
      );
    }),
  );
});

describe("what is no question", () => {
  const good = encode(question("example.org", "A", { edns: {} }));
  const changed = (at: number, ...values: number[]): Buffer => {
    const bytes = Buffer.from(good);
    bytes.set(values, at);
    return bytes;
  };
  const opt = good.subarray(-11);
  test.each<[string, Buffer, unknown]>([
    ["shorter than a header", good.subarray(0, 11), "drop"],
    ["a response", changed(2, 0x81), "drop"],
    ["a notification", changed(2, 0x21), { rcode: 4 }],
    ["none at all", changed(5, 0), { rcode: 1 }],
    ["two questions", changed(5, 2), { rcode: 1 }],
    ["a pointer for a name", changed(12, 0xc0, 12), { rcode: 1 }],
    ["a label that runs out of the message", changed(12, 63), { rcode: 1 }],
    ["a name that does not end", encode(question("example.org", "A")).subarray(0, -5), { rcode: 1 }],
    ["a question without its class", encode(question("example.org", "A")).subarray(0, -1), { rcode: 1 }],
    ["cut within OPT", good.subarray(0, -1), { rcode: 1 }],
    ["something behind the end", Buffer.concat([good, Buffer.of(0)]), { rcode: 1 }],
    ["OPT twice", Buffer.concat([changed(11, 2), opt]), { rcode: 1 }],
    ["OPT among the answers", changed(7, 1, 0, 0, 0, 0), { rcode: 1 }],
    ["OPT with a name", changed(11, 1).fill(Buffer.of(0xc0, 12), good.length - 11, good.length - 9), { rcode: 1 }],
    [
      "a name of more than 255 bytes",
      encode(question(Array.from({ length: 5 }, () => "x".repeat(60)).join("."), "A")),
      { rcode: 1 },
    ],
  ])("%s", (_, bytes, expected) => {
    expect(readQuery(bytes)).toEqual(expected);
  });

  test("is never one for a name of ours if a label holds a dot or a byte that is no letter", () => {
    for (const odd of [
      Buffer.from("\x03a.b\x00\x00\x01\x00\x01", "latin1"),
      Buffer.from("\x02\xff \x00\x00\x01\x00\x01", "latin1"),
    ]) {
      expect(readQuery(Buffer.concat([encode(question("x", "A")).subarray(0, 12), odd]))).toMatchObject({
        name: undefined,
        type: 1,
      });
    }
  });
});

describe("whatever bytes come", () => {
  const log = new RecordingLogger();
  const options = resolveOptions({ upstreams: [] });
  const metrics = new DnsMetrics(systemClock);
  const names = new OwnNames(
    { resolve: (asked) => (asked.startsWith("w") ? ["10.96.0.10"] : undefined) },
    systemRandom,
    options,
  );
  const forwarder = new Forwarder({ clock: systemClock, random: systemRandom, log: silentLogger, metrics }, options);
  const responder = new Responder(names, forwarder, metrics, log, options.maxUdpBytes);
  afterAll(() => {
    forwarder.close();
    metrics.close();
  });

  /** A question with bytes replaced, cut off or added. */
  const bent = fc
    .tuple(
      query,
      fc.array(fc.tuple(fc.nat(300), fc.nat(255)), { maxLength: 6 }),
      fc.nat(300),
      fc.uint8Array({ maxLength: 20 }),
    )
    .map(([{ bytes }, changes, cut, more]) => {
      const copy = Buffer.concat([
        bytes.subarray(0, cut % 3 === 0 ? cut : bytes.length),
        cut % 2 === 0 ? more : Buffer.alloc(0),
      ]);
      for (const [at, value] of changes) if (at < copy.length) copy[at] = value;
      return copy;
    });
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 600 }).map((each) => Buffer.from(each)),
    bent,
  );

  test("there is no reply, or one that fits, repeats the id and can be read", async () => {
    await fc.assert(
      fc.asyncProperty(bytes, fc.constantFrom("udp" as const, "tcp" as const), async (message, transport) => {
        const reply = await responder.reply(message, { address: "10.77.1.2" }, transport);
        if (reply === undefined) return;
        expect(reply.length).toBeLessThanOrEqual(transport === "udp" ? 1_232 : 65_535);
        expect(reply.readUInt16BE()).toBe(message.readUInt16BE());
        expect(decode(reply).type).toBe("response");
      }),
      { numRuns: 5_000 },
    );
    expect(log.records).toEqual([]);
  });

  test("they are read as an upstream's answer, or not, and what is kept is whole", () => {
    fc.assert(
      fc.property(bytes, (message) => {
        if (message.length < 12) return;
        const reading = readAnswer(message, limits);
        if (reading === undefined) return;
        const { answer } = reading;
        expect(answer.bytes.length).toBeLessThanOrEqual(message.length);
        for (const at of answer.ttls) expect(at + 4).toBeLessThanOrEqual(answer.bytes.length);
      }),
      { numRuns: 5_000 },
    );
  });
});

describe("a server that was sent random bytes", () => {
  let server: DnsServer;
  beforeAll(async () => {
    server = await startDnsServer(
      { resolver: { resolve: () => ["10.96.0.10"] } },
      { listen: [{ address: "127.0.0.1", port: 0 }], upstreams: [] },
    );
  });
  afterAll(() => server.close());

  test("answers on", async () => {
    const socket = createSocket("udp4");
    const [{ address, port } = { address: "", port: 0 }] = server.addresses;
    for (let i = 0; i < 500; i += 1) socket.send(systemRandom.bytes(systemRandom.int(600)), port, address);
    expect(data(await ask(server, "web", "A"))).toEqual(["10.96.0.10"]);
    socket.close();
    const reply: DecodedPacket = decode(await sendDatagram(server, encode(question("web", "A", { id: 9 }))));
    expect(reply.id).toBe(9);
  });
});
