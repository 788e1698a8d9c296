import { createSocket } from "node:dgram";
import { decode, encode, type DecodedPacket, type RecordType, type SoaAnswer } from "dns-packet";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startDnsServer, type DnsServer, type Resolved, type Resolver } from "@warren/dns";
import { RecordingLogger, RecordingMetrics, seededRandom } from "@warren/std/testing";
import { ask, data, question, rcodeOf, sendDatagram } from "./ask.ts";
import { FakeUpstream } from "./fake-upstream.ts";
import { zoneResolver } from "./zone.ts";

const many = Array.from({ length: 200 }, (_, i) => `10.77.${1 + (i >> 6)}.${i & 63}`);
const zone: Record<string, Resolved> = {
  web: ["10.96.0.10"],
  "web.warren": ["10.96.0.10"],
  dual: ["10.96.0.11", "fd00::1", "2001:db8::192.0.2.1"],
  six: ["fd00:1:2:3:4:5:6:7"],
  empty: [],
  many,
  hidden: "NXDOMAIN",
};

let upstream: FakeUpstream;
let server: DnsServer;
const seen: string[] = [];
const log = new RecordingLogger();
const metrics = new RecordingMetrics();
beforeAll(async () => {
  upstream = await FakeUpstream.open(() => undefined);
  const names = zoneResolver(zone, { "10.77.1.2": "1.web.warren" });
  const resolver: Resolver = {
    ...names,
    resolve(name, client) {
      if (name === "broken") throw new Error("a fault");
      seen.push(client.address);
      return names.resolve(name, client);
    },
  };
  server = await startDnsServer(
    { resolver, random: seededRandom(1), log, metrics },
    { listen: [{ address: "127.0.0.1", port: 0 }], upstreams: [upstream.name], ttlSeconds: 7 },
  );
});
afterAll(async () => {
  expect(upstream.heard).toEqual([]);
  await server.close();
  await upstream[Symbol.asyncDispose]();
});

const soa = (packet: DecodedPacket): SoaAnswer | undefined => packet.authorities?.[0] as SoaAnswer | undefined;

describe.each(["udp", "tcp"] as const)("over %s", (transport) => {
  test("a name of ours is answered with its addresses of the asked family, authoritatively and briefly", async () => {
    const reply = await ask(server, "web", "A", { transport });
    expect(reply).toMatchObject({
      id: 4_711,
      type: "response",
      flag_aa: true,
      flag_rd: true,
      flag_ra: true,
      flag_tc: false,
    });
    expect(reply.questions).toEqual([{ name: "web", type: "A", class: "IN" }]);
    expect(reply.answers).toMatchObject([{ name: "web", type: "A", class: "IN", ttl: 7, data: "10.96.0.10" }]);
    expect(data(await ask(server, "dual", "A", { transport }))).toEqual(["10.96.0.11"]);
    expect(data(await ask(server, "dual", "AAAA", { transport }))).toEqual(["2001:db8::c000:201", "fd00::1"]);
    expect(data(await ask(server, "six", "AAAA", { transport }))).toEqual(["fd00:1:2:3:4:5:6:7"]);
  });

  test("a name of ours without records of the asked type is NODATA, with the TTL of its absence", async () => {
    for (const [name, type] of [
      ["web", "AAAA"],
      ["six", "A"],
      ["empty", "A"],
      ["web", "MX"],
      ["web", "UNKNOWN_65" as RecordType],
    ] as const) {
      const reply = await ask(server, name, type, { transport });
      expect(rcodeOf(reply)).toBe(0);
      expect(reply.answers).toEqual([]);
      expect(soa(reply)).toMatchObject({ type: "SOA", name, ttl: 7, data: { minimum: 7, rname: "nobody.invalid" } });
    }
  });

  test("a name under our domain that is not there, or not for this client, is NXDOMAIN", async () => {
    const reply = await ask(server, "no.such.warren", "A", { transport });
    expect(rcodeOf(reply)).toBe(3);
    expect(soa(reply)).toMatchObject({ name: "warren", data: { mname: "warren", minimum: 7 } });
    expect(rcodeOf(await ask(server, "hidden", "A", { transport }))).toBe(3);
    expect(rcodeOf(await ask(server, "warren", "NS", { transport }))).toBe(0);
  });

  test("an address of ours has its name, and one of ours without is NXDOMAIN", async () => {
    expect(data(await ask(server, "2.1.77.10.in-addr.arpa", "PTR", { transport }))).toEqual(["1.web.warren"]);
    expect(soa(await ask(server, "2.1.77.10.in-addr.arpa", "A", { transport }))).toMatchObject({ type: "SOA" });
    expect(rcodeOf(await ask(server, "9.9.77.10.in-addr.arpa", "PTR", { transport }))).toBe(3);
    expect(rcodeOf(await ask(server, "9.9.96.10.in-addr.arpa", "PTR", { transport }))).toBe(3);
  });

  test("ANY is answered with one record set, or with the HINFO of RFC 8482", async () => {
    expect(data(await ask(server, "dual", "UNKNOWN_255" as RecordType, { transport }))).toEqual(["10.96.0.11"]);
    for (const name of ["empty", "example.org"]) {
      const { answers } = await ask(server, name, "UNKNOWN_255" as RecordType, { transport });
      expect(answers).toMatchObject([{ type: "HINFO", data: { cpu: "RFC8482", os: "" } }]);
    }
  });

  test("transfers and updates are answered with NOTIMP, other classes with REFUSED", async () => {
    expect(rcodeOf(await ask(server, "web", "AXFR", { transport }))).toBe(4);
    expect(rcodeOf(await ask(server, "web", "A", { transport, flags: 0x2900 }))).toBe(4);
    const chaos = question("version.bind", "TXT");
    const reply = decode(
      await sendDatagram(server, encode({ ...chaos, questions: [{ name: "version.bind", type: "TXT", class: "CH" }] })),
    );
    expect(rcodeOf(reply)).toBe(5);
  });
});

describe("over UDP", () => {
  test("the question comes back in the upper and lower case that it was sent in", async () => {
    const asked = encode(question("wEb.WaRReN", "A"));
    const reply = await sendDatagram(server, asked);
    expect(reply.subarray(12, asked.length)).toEqual(asked.subarray(12));
    expect(data(decode(reply))).toEqual(["10.96.0.10"]);
  });

  test("the resolver gets the client's address", async () => {
    await ask(server, "web", "A", { from: "127.0.0.9" });
    expect(seen.at(-1)).toBe("127.0.0.9");
  });

  test.each([
    [undefined, 512],
    [{ udpPayloadSize: 600 }, 600],
    [{ udpPayloadSize: 100 }, 512],
    [{ udpPayloadSize: 4_096 }, 1_232],
  ])(
    "with EDNS of %j, addresses that do not fit are left out and the reply flagged as truncated; TCP has them all",
    async (edns, limit) => {
      const asked = encode(question("many", "A", edns === undefined ? {} : { edns }));
      const reply = await sendDatagram(server, asked);
      expect(reply.length).toBeLessThanOrEqual(limit);
      expect(reply.length).toBeGreaterThan(limit - 16);
      const packet = decode(reply);
      expect(packet.flag_tc).toBe(true);
      expect(many).toEqual(expect.arrayContaining(data(packet)));
      expect(data(await ask(server, "many", "A", { transport: "tcp" }))).toEqual(many.toSorted());
    },
  );

  test("many addresses begin with another each time, so that clients spread", async () => {
    const firsts = new Set<string>();
    for (let i = 0; i < 20; i += 1)
      firsts.add(data({ answers: (await ask(server, "many", "A")).answers?.slice(0, 1) })[0] ?? "");
    expect(firsts.size).toBeGreaterThan(3);
  });

  test("EDNS is echoed with our size and the asker's DO bit, and an unknown version is refused", async () => {
    const plain = await ask(server, "web", "A");
    expect(plain.additionals).toEqual([]);
    const reply = await ask(server, "web", "A", { edns: { flags: 0x8000 } });
    expect(reply.additionals).toMatchObject([
      { type: "OPT", udpPayloadSize: 1_232, ednsVersion: 0, flag_do: true, extendedRcode: 0 },
    ]);
    const refused = await ask(server, "web", "A", { edns: { ednsVersion: 1 } });
    expect(refused.additionals).toMatchObject([{ type: "OPT", ednsVersion: 0, extendedRcode: 1 }]);
    expect(rcodeOf(refused)).toBe(0);
    expect(refused.answers).toEqual([]);
  });

  test("a response is not answered, so that two servers never answer each other for ever", async () => {
    const response = encode({ ...question("web", "A"), type: "response" });
    const [{ address, port } = { address: "", port: 0 }] = server.addresses;
    const replies = [response, encode(question("web", "A", { id: 2 }))];
    const socket = createSocket("udp4");
    const first = new Promise<Buffer>((resolve) => void socket.once("message", resolve));
    for (const bytes of replies) socket.send(bytes, port, address);
    expect(decode(await first).id).toBe(2);
    socket.close();
  });

  test("a resolver that throws is SERVFAIL for that client and an error in the log", async () => {
    expect(rcodeOf(await ask(server, "broken", "A"))).toBe(2);
    expect(log.records.at(-1)).toMatchObject({ level: "error", fields: { name: "broken" } });
    expect(data(await ask(server, "web", "A"))).toEqual(["10.96.0.10"]);
  });
});
