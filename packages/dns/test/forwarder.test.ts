import { encode, type DecodedPacket } from "dns-packet";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startDnsServer, type Client, type DnsServer, type DnsServerOptions } from "@warren/dns";
import { FakeClock, RecordingLogger, RecordingMetrics, seededRandom, until } from "@warren/std/testing";
import { ask, data, question, rcodeOf, sendDatagram } from "./ask.ts";
import { FakeUpstream, always, response, type Behaviour } from "./fake-upstream.ts";
import { zoneResolver } from "./zone.ts";

let clock: FakeClock;
let log: RecordingLogger;
let metrics: RecordingMetrics;
let resources: AsyncDisposableStack;
beforeEach(() => {
  clock = new FakeClock();
  log = new RecordingLogger();
  metrics = new RecordingMetrics();
  resources = new AsyncDisposableStack();
});
afterEach(() => resources.disposeAsync());

async function upstream(behaviour: Behaviour): Promise<FakeUpstream> {
  return resources.use(await FakeUpstream.open(behaviour));
}

async function server(upstreams: readonly FakeUpstream[], options: DnsServerOptions = {}): Promise<DnsServer> {
  return resources.use(
    await startDnsServer(
      { clock, log, metrics, random: seededRandom(7), resolver: { resolve: () => undefined } },
      { listen: [{ address: "127.0.0.1", port: 0 }], upstreams: upstreams.map(({ name }) => name), ...options },
    ),
  );
}

/** The extended error's text (RFC 8914) in the reply's OPT. */
function why(packet: DecodedPacket): string {
  const opt = packet.additionals?.find(({ type }) => type === "OPT") as { options?: { data: Buffer }[] } | undefined;
  return opt?.options?.[0]?.data.subarray(2).toString() ?? "";
}

const edns = { udpPayloadSize: 1_232 };

describe("an answer from upstream", () => {
  test("reaches the client, is not authoritative, and the next client has it from the cache, aged", async () => {
    const up = await upstream(always("192.0.2.1", 60));
    const dns = await server([up]);
    const first = await ask(dns, "example.org", "A");
    expect(first).toMatchObject({ id: 4_711, flag_aa: false, flag_ra: true, flag_ad: false });
    expect(first.answers).toMatchObject([{ name: "example.org", ttl: 60, data: "192.0.2.1" }]);
    clock.advance(20_500);
    expect((await ask(dns, "EXAMPLE.org", "A", { id: 2 })).answers).toMatchObject([{ ttl: 40 }]);
    clock.advance(39_500);
    expect((await ask(dns, "example.org", "A")).answers).toMatchObject([{ ttl: 60 }]);
    expect(up.heard).toHaveLength(2);
    clock.advance(1_000);
    expect(metrics.values.get('warren_dns_replies_total{source="cache"}')).toBe(1);
    expect(metrics.values.get('warren_dns_replies_total{source="upstream"}')).toBe(2);
    expect(metrics.values.get("warren_dns_cache_bytes")).toBeGreaterThan(0);
  });

  test("is repeated in the upper and lower case of each client's question", async () => {
    const dns = await server([await upstream(always("192.0.2.1"))]);
    for (const name of ["example.ORG", "eXample.org"]) {
      const asked = encode(question(name, "A"));
      expect((await sendDatagram(dns, asked)).subarray(12, asked.length)).toEqual(asked.subarray(12));
    }
  });

  test("is asked for with EDNS, from another port with another id each time", async () => {
    const up = await upstream(always("192.0.2.1", 0));
    const dns = await server([up]);
    for (let i = 0; i < 8; i += 1) await ask(dns, "example.org", "A");
    expect(up.heard[0]?.packet.additionals).toMatchObject([{ type: "OPT", udpPayloadSize: 1_232 }]);
    expect(new Set(up.heard.map(({ port }) => port)).size).toBeGreaterThan(6);
    expect(new Set(up.heard.map(({ packet }) => packet.id)).size).toBeGreaterThan(6);
  });

  test("to another question, with another id, or that is no response, is ignored", async () => {
    const up = await upstream(() => undefined);
    const dns = await server([up]);
    const reply = ask(dns, "example.org", "A");
    const forged = (change: (packet: DecodedPacket) => object): Buffer => {
      const { packet } = up.heard[0] ?? { packet: {} as DecodedPacket };
      const honest = always("203.0.113.66")(packet, "udp");
      return encode({ ...(honest as object), ...change(packet) });
    };
    await until("the question is heard", () => up.heard.length === 1);
    const { port = 0 } = up.heard[0] ?? {};
    up.sendRaw(
      forged(({ id = 0 }) => ({ id: id ^ 1 })),
      port,
    );
    up.sendRaw(
      forged(() => ({ questions: [{ name: "example.com", type: "A" }] })),
      port,
    );
    up.sendRaw(
      forged(() => ({ questions: [{ name: "example.org", type: "AAAA" }] })),
      port,
    );
    up.sendRaw(
      forged(() => ({ type: "query" })),
      port,
    );
    up.sendRaw(Buffer.from([1, 2, 3]), port);
    up.sendRaw(encode(always("192.0.2.1")(up.heard[0]?.packet as DecodedPacket, "udp") as object), port);
    expect(data(await reply)).toEqual(["192.0.2.1"]);
  });

  test("that is negative is cached for the SOA's TTL or its minimum, whichever is less", async () => {
    const soa = { mname: "a", rname: "b", serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 30 };
    const up = await upstream((asked) =>
      response(asked, { rcode: 3, authorities: [{ type: "SOA", name: "org", ttl: 300, data: soa }] }),
    );
    const dns = await server([up]);
    expect(rcodeOf(await ask(dns, "no.org", "A"))).toBe(3);
    clock.advance(29_000);
    expect(rcodeOf(await ask(dns, "no.org", "A"))).toBe(3);
    expect(up.heard).toHaveLength(1);
    clock.advance(1_000);
    await ask(dns, "no.org", "A");
    expect(up.heard).toHaveLength(2);
  });

  test.each([
    ["no records and no SOA", response],
    ["a TTL of 0", (asked: DecodedPacket) => always("192.0.2.1", 0)(asked, "udp")],
  ] as const)("with %s is not cached", async (_, behaviour) => {
    const up = await upstream((asked) => behaviour(asked, {}));
    const dns = await server([up]);
    await ask(dns, "example.org", "A");
    await ask(dns, "example.org", "A");
    expect(up.heard).toHaveLength(2);
  });

  test("that is truncated is asked for again over TCP", async () => {
    const texts = Array.from({ length: 20 }, (_, i) => `${i}`.repeat(100));
    const up = await upstream((asked, transport) =>
      transport === "udp"
        ? response(asked, { flagBits: 0x0200 })
        : response(asked, { answers: texts.map((text) => ({ type: "TXT", name: "example.org", ttl: 9, data: text })) }),
    );
    const dns = await server([up]);
    const cut = await ask(dns, "example.org", "TXT", { edns });
    expect(cut).toMatchObject({ flag_tc: true, answers: [] });
    expect((await ask(dns, "example.org", "TXT", { transport: "tcp" })).answers).toHaveLength(20);
    expect(up.heard.map(({ transport }) => transport)).toEqual(["udp", "tcp"]);
  });

  test("from an upstream without EDNS is asked for without it, from then on", async () => {
    const up = await upstream((asked) =>
      (asked.additionals ?? []).length > 0 ? response(asked, { rcode: 1 }) : always("192.0.2.1", 0)(asked, "udp"),
    );
    const dns = await server([up]);
    expect(data(await ask(dns, "example.org", "A"))).toEqual(["192.0.2.1"]);
    expect(data(await ask(dns, "example.org", "A"))).toEqual(["192.0.2.1"]);
    expect(up.heard.map(({ packet }) => packet.additionals?.length)).toEqual([1, 0, 0]);
  });

  test("with OPT and records of unknown type comes through, without the OPT that was upstream's", async () => {
    const up = await upstream((asked) => {
      const type = "UNKNOWN_999" as "NULL";
      const packet = response(asked, {
        answers: [{ type, name: "example.org", ttl: 9, data: Buffer.from([0xc0, 0x0c, 1]) }],
        additionals: [
          { type: "A", name: "glue.org", ttl: 5, data: "192.0.2.5" },
          ...(asked.additionals ?? []),
          { type: "A", name: "late.org", ttl: 5, data: "192.0.2.6" },
        ],
      });
      return packet;
    });
    const dns = await server([up]);
    const plain = await ask(dns, "example.org", "A");
    expect(plain.answers).toMatchObject([{ type: "UNKNOWN_999", data: Buffer.from([0xc0, 0x0c, 1]) }]);
    expect(plain.additionals).toMatchObject([{ name: "glue.org" }]);
    expect((await ask(dns, "example.org", "A", { edns })).additionals).toMatchObject([
      { name: "glue.org" },
      { type: "OPT" },
    ]);
    expect(up.heard).toHaveLength(1);
  });

  test("for DNSSEC is another than that without", async () => {
    const up = await upstream(always("192.0.2.1"));
    const dns = await server([up]);
    await ask(dns, "example.org", "A", { edns });
    await ask(dns, "example.org", "A", { edns: { flags: 0x8000 } });
    await ask(dns, "example.org", "A", { flags: 0x0110 });
    expect(up.heard).toHaveLength(3);
    expect(up.heard[1]?.packet.additionals).toMatchObject([{ flag_do: true }]);
    expect(up.heard[2]?.packet.flag_cd).toBe(true);
  });
});

describe("many at once", () => {
  test("ask the same and are one question upstream", async () => {
    const up = await upstream(always("192.0.2.1"));
    up.hold();
    const dns = await server([up]);
    const replies = Array.from({ length: 20 }, (_, id) =>
      ask(dns, id % 2 === 0 ? "example.org" : "Example.Org", "A", { id }),
    );
    await until("the question is heard", () => up.heard.length > 0);
    // Loopback delivers in order: once this one is answered, those before it have been read.
    expect(rcodeOf(await ask(dns, "last.org", "A", { flags: 0 }))).toBe(5);
    up.release();
    expect((await Promise.all(replies)).map(({ id }) => id)).toEqual(Array.from({ length: 20 }, (_, id) => id));
    expect(up.heard).toHaveLength(1);
  });

  test("have a limit of questions under way, for each client and in all; further ones are refused with the reason", async () => {
    const up = await upstream(always("192.0.2.1"));
    up.hold();
    const dns = await server([up], { forward: { pending: 3, pendingPerClient: 2 } });
    const held = [ask(dns, "a.org", "A"), ask(dns, "b.org", "A")];
    await until("two are under way", () => up.heard.length === 2);
    expect(why(await ask(dns, "c.org", "A", { edns }))).toContain("too many questions");
    held.push(ask(dns, "c.org", "A", { from: "127.0.0.2" }));
    await until("three are under way", () => up.heard.length === 3);
    expect(rcodeOf(await ask(dns, "d.org", "A", { from: "127.0.0.3" }))).toBe(2);
    up.release();
    for (const reply of held) expect(data(await reply)).toEqual(["192.0.2.1"]);
    expect(data(await ask(dns, "d.org", "A"))).toEqual(["192.0.2.1"]);
  });
});

describe("an upstream that fails", () => {
  test("is followed by the next at once, and comes last until its penalty ends", async () => {
    const bad = await upstream((asked) => response(asked, { rcode: 2 }));
    const good = await upstream(always("192.0.2.1", 0));
    const dns = await server([bad, good]);
    expect(data(await ask(dns, "a.org", "A"))).toEqual(["192.0.2.1"]);
    expect(data(await ask(dns, "b.org", "A"))).toEqual(["192.0.2.1"]);
    expect([bad.heard.length, good.heard.length]).toEqual([1, 2]);
    expect(log.records.filter(({ level }) => level === "warn")).toHaveLength(1);
    bad.behaviour = always("192.0.2.2", 0);
    clock.advance(30_000);
    expect(data(await ask(dns, "c.org", "A"))).toEqual(["192.0.2.2"]);
    expect(log.records.at(-1)).toMatchObject({ level: "info", event: "an upstream name server answers again" });
  });

  test("to answer in time is still waited for while the next is asked; the first answer counts", async () => {
    const slow = await upstream(always("192.0.2.1"));
    slow.hold();
    const silent = await upstream(() => undefined);
    const dns = await server([slow, silent]);
    const reply = ask(dns, "example.org", "A");
    await until("the first is asked", () => slow.heard.length === 1);
    clock.advance(1_000);
    await until("the second is asked", () => silent.heard.length === 1);
    slow.release();
    expect(data(await reply)).toEqual(["192.0.2.1"]);
  });

  test("because its port is closed, with no other left, is SERVFAIL at once with the reason, and not asked again for a while", async () => {
    const gone = await FakeUpstream.open(() => undefined);
    const { name } = gone;
    await gone[Symbol.asyncDispose]();
    const dns = await server([], { upstreams: [name] });
    const failed = await ask(dns, "example.org", "A", { edns });
    expect(rcodeOf(failed)).toBe(2);
    expect(why(failed)).toMatch(/127\.0\.0\.1: .*ECONNREFUSED/);
    expect(why(await ask(dns, "example.org", "A", { edns }))).toContain("a moment ago");
  });

  test("with silence is given up on before the client gives up, and asked again five seconds later", async () => {
    const up = await upstream(() => undefined);
    const dns = await server([up]);
    const reply = ask(dns, "example.org", "A", { edns });
    await until("it is asked", () => up.heard.length === 1);
    clock.advance(1_000);
    await until("it is asked again", () => up.heard.length === 2);
    clock.advance(3_500);
    expect(why(await reply)).toContain("4500 ms");
    await ask(dns, "example.org", "A");
    expect(up.heard).toHaveLength(2);
    up.behaviour = always("192.0.2.1");
    clock.advance(5_000);
    expect(data(await ask(dns, "example.org", "A"))).toEqual(["192.0.2.1"]);
  });

  test.each<[string, Behaviour]>([
    [
      "a malformed answer",
      (asked) =>
        encode(response(asked, { answers: [{ type: "A", name: "a", ttl: 1, data: "192.0.2.1" }] })).subarray(0, -2),
    ],
    [
      "a refusal without a question",
      (asked) => Buffer.from([(asked.id ?? 0) >> 8, (asked.id ?? 0) & 255, 0x81, 0x85, 0, 0, 0, 0, 0, 0, 0, 0]),
    ],
    [
      "a cut answer and no TCP",
      (asked, transport) => (transport === "udp" ? response(asked, { flagBits: 0x0200 }) : Buffer.alloc(0)),
    ],
    [
      "two OPT records",
      (asked) => response(asked, { additionals: [...(asked.additionals ?? []), ...(asked.additionals ?? [])] }),
    ],
  ])("by %s is passed over", async (_, behaviour) => {
    const bad = await upstream(behaviour);
    const dns = await server([bad, await upstream(always("192.0.2.1"))]);
    expect(data(await ask(dns, "example.org", "A"))).toEqual(["192.0.2.1"]);
  });

  test("or none at all is SERVFAIL with the reason", async () => {
    const dns = await server([]);
    expect(why(await ask(dns, "example.org", "A", { edns }))).toBe("no upstream name server is known");
  });
});

describe("while no upstream answers", () => {
  const warm = async (behaviour: Behaviour = always("192.0.2.1", 60)) => {
    const up = await upstream(behaviour);
    const dns = await server([up]);
    await ask(dns, "example.org", "A");
    clock.advance(61_000);
    return { up, dns };
  };

  test("expired answers are served, marked as stale, at once after the first failure", async () => {
    const { up, dns } = await warm();
    up.behaviour = (asked) => response(asked, { rcode: 2 });
    const stale = await ask(dns, "example.org", "A", { edns });
    expect(stale.answers).toMatchObject([{ ttl: 30, data: "192.0.2.1" }]);
    expect(why(stale)).toBe("no upstream answers; this is 61 s old");
    const asked = up.heard.length;
    clock.advance(29_000);
    expect(data(await ask(dns, "example.org", "A"))).toEqual(["192.0.2.1"]);
    expect(up.heard).toHaveLength(asked);
    up.behaviour = always("192.0.2.2", 60);
    clock.advance(1_000);
    expect(data(await ask(dns, "example.org", "A"))).toEqual(["192.0.2.2"]);
  });

  test("a client waits 1.8 seconds for a fresh answer; one that comes later is there for the next client", async () => {
    const { up, dns } = await warm();
    up.behaviour = always("192.0.2.2", 60);
    up.hold();
    const reply = ask(dns, "example.org", "A");
    await until("upstream is asked", () => up.heard.length === 2);
    clock.advance(1_800);
    expect(data(await reply)).toEqual(["192.0.2.1"]);
    up.release();
    await until("the fresh answer is here", async () => data(await ask(dns, "example.org", "A"))[0] === "192.0.2.2");
  });

  test("expired negative answers are served, too", async () => {
    const soa = { mname: "a", rname: "b", serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 30 };
    const { up, dns } = await warm((asked) =>
      response(asked, { rcode: 3, authorities: [{ type: "SOA", name: "org", ttl: 300, data: soa }] }),
    );
    up.behaviour = (asked) => response(asked, { rcode: 5 });
    expect(rcodeOf(await ask(dns, "example.org", "A"))).toBe(3);
  });

  test("after three days no stale answer is served", async () => {
    const { up, dns } = await warm();
    up.behaviour = (asked) => response(asked, { rcode: 2 });
    clock.advance(259_200_000);
    expect(rcodeOf(await ask(dns, "example.org", "A"))).toBe(2);
  });
});

test("the cache keeps within its bytes, and the least recently used go first", async () => {
  const up = await upstream(always("192.0.2.1", 600));
  const dns = await server([up], { cache: { bytes: 3_000 } });
  for (let i = 0; i < 40; i += 1) {
    await ask(dns, `n${i}.org`, "A");
    await ask(dns, "n0.org", "A");
  }
  expect(metrics.values.get("warren_dns_cache_bytes")).toBeLessThanOrEqual(3_000);
  expect(up.heard).toHaveLength(40);
  await ask(dns, "n1.org", "A");
  expect(up.heard).toHaveLength(41);
});

test("a question without the RD flag is answered from the cache, and never asked upstream", async () => {
  const up = await upstream(always("192.0.2.1"));
  const dns = await server([up]);
  expect(rcodeOf(await ask(dns, "example.org", "A", { flags: 0 }))).toBe(5);
  expect(up.heard).toEqual([]);
  await ask(dns, "example.org", "A");
  expect(await ask(dns, "example.org", "A", { flags: 0 })).toMatchObject({
    flag_rd: false,
    answers: [{ data: "192.0.2.1" }],
  });
});

test("an upstream that forwards to this server ends in a failure, not in a loop", async () => {
  const back = await upstream(() => undefined);
  const dns = await server([back]);
  const [own] = dns.addresses;
  back.behaviour = (asked) => {
    void sendDatagram(
      { addresses: own === undefined ? [] : [own] },
      encode({ ...question("example.org", "A"), id: asked.id ?? 0 }),
    );
    return undefined;
  };
  const reply = ask(dns, "example.org", "A");
  await until("it goes round", () => back.heard.length === 1);
  clock.advance(4_500);
  expect(rcodeOf(await reply)).toBe(2);
  expect(back.heard.length).toBeLessThanOrEqual(2);
});

test("a server that closes leaves no question under way", async () => {
  const up = await upstream(() => undefined);
  const dns = await server([up]);
  const reply = ask(dns, "example.org", "A", { transport: "tcp" });
  await until("upstream is asked", () => up.heard.length === 1);
  await dns.close();
  await expect(reply).rejects.toThrow();
  await until("its timers are gone", () => clock.pending === 0);
});

describe("a client with upstreams of its own", () => {
  const [own, other] = ["127.0.0.2", "127.0.0.3"];

  async function serverFor(
    upstreams: readonly string[],
    of: (address: string) => readonly string[],
  ): Promise<DnsServer> {
    const resolver = zoneResolver({ web: ["10.96.0.10"] });
    const upstreamsOf = ({ address }: Client): readonly string[] => of(address);
    return resources.use(
      await startDnsServer(
        { clock, log, metrics, random: seededRandom(7), resolver, upstreamsOf },
        { listen: [{ address: "127.0.0.1", port: 0 }], upstreams },
      ),
    );
  }

  test("has its answers from there, and others from the server's; neither from what the other was answered", async () => {
    const [all, its] = [await upstream(always("192.0.2.1")), await upstream(always("192.0.2.2"))];
    const dns = await serverFor([all.name], (address) => (address === own ? [its.name] : []));
    for (let i = 0; i < 2; i += 1) {
      expect(data(await ask(dns, "example.org", "A", { from: own }))).toEqual(["192.0.2.2"]);
      expect(data(await ask(dns, "example.org", "A", { from: other }))).toEqual(["192.0.2.1"]);
    }
    expect([all.heard.length, its.heard.length]).toEqual([1, 1]);
  });

  test("knows the names that are ours as all others do", async () => {
    const its = await upstream(always("192.0.2.2"));
    const dns = await serverFor([], () => [its.name]);
    expect(data(await ask(dns, "web", "A", { from: own }))).toEqual(["10.96.0.10"]);
    expect(rcodeOf(await ask(dns, "nobody.warren", "A", { from: own }))).toBe(3);
    expect(its.heard).toEqual([]);
  });

  test("hears that they fail, and nobody else does", async () => {
    const all = await upstream(always("192.0.2.1"));
    const its = await upstream((asked) => response(asked, { rcode: 5 }));
    const dns = await serverFor([all.name], (address) => (address === own ? [its.name] : []));
    expect(why(await ask(dns, "example.org", "A", { from: own, edns }))).toContain("REFUSED");
    expect(data(await ask(dns, "example.org", "A", { from: other }))).toEqual(["192.0.2.1"]);
    expect(rcodeOf(await ask(dns, "example.org", "A", { from: own }))).toBe(2);
    expect(all.heard).toHaveLength(1);
  });

  test("that names this server, and nobody else, has named nobody", async () => {
    const all = await upstream(always("192.0.2.1"));
    const named: string[] = [];
    const dns = await serverFor([all.name], () => named);
    named.push(`127.0.0.1:${dns.addresses[0]?.port}`);
    expect(data(await ask(dns, "example.org", "A", { from: own }))).toEqual(["192.0.2.1"]);
  });
});
