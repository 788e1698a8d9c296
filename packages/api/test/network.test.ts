/** Other machines: real TLS, certificates of a test authority, real sockets. */
import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";
import { ServerCredentials } from "@grpc/grpc-js";
import { EventsDefinition, HealthDefinition } from "@warren/api";
import { connect, connectToLeader, type ApiClient, type Credentials } from "@warren/api/client";
import {
  bind,
  startServer,
  type ApiServer,
  type CallContext,
  type Identity,
  type LeaderRoute,
  type NetworkDependencies,
  type NetworkListener,
  type ServerDependencies,
  type TlsListenerOptions,
} from "@warren/api/server";
import { createTestAuthority, type IssueOptions, type TestAuthority } from "@warren/security/testing";
import { RecordingLogger, RecordingMetrics, until } from "@warren/std/testing";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { grpcServer } from "../src/server/grpc.ts";
import { events, folder, networks, TestDirectory } from "./fixture.ts";

const clusterId = "c1";
const day = 86_400_000;
let authority: TestAuthority;
let managerCredentials: Credentials;
beforeAll(async () => {
  authority = await createTestAuthority({ clusterId });
  managerCredentials = await authority.issue({ name: "m1", role: "manager" });
});

interface World {
  readonly server: ApiServer;
  readonly listener: NetworkListener;
  readonly directory: TestDirectory;
  readonly metrics: RecordingMetrics;
  readonly client: (options?: Partial<IssueOptions>, by?: TestAuthority) => Promise<ApiClient>;
}

async function world(
  dependencies: Partial<ServerDependencies & NetworkDependencies> = {},
  options: Partial<TlsListenerOptions> = {},
): Promise<World> {
  const directory = new TestDirectory(authority.root, clusterId);
  const metrics = new RecordingMetrics();
  const server = await startServer(
    { services: [networks()], metrics, ...dependencies },
    { socketPath: `${folder()}/m.sock` },
  );
  const listener = await server.listen(
    { credentials: { current: () => managerCredentials }, directory, ...dependencies },
    { address: "127.0.0.1:0", ...options },
  );
  onTestFinished(() => server.close());
  return {
    server,
    listener,
    directory,
    metrics,
    async client(leaf = {}, by = authority) {
      const made = { ...(await by.issue({ name: "ann", role: "client", ...leaf })), ca: authority.root.toString() };
      return clientOf(listener.address, made);
    },
  };
}

function clientOf(host: string, credentials: Credentials): ApiClient {
  const client = connect({ host, clusterId, credentials: { current: () => credentials } });
  onTestFinished(() => client.close());
  return client;
}

async function failure(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: unknown) => error,
  );
}

function port(address: string): { readonly host: string; readonly port: number } {
  return { host: "127.0.0.1", port: Number(address.slice(address.lastIndexOf(":") + 1)) };
}

async function dial(address: string, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connectTls({
    ...port(address),
    ca: authority.root.toString(),
    servername: `manager.${clusterId}.warren`,
    ALPNProtocols: ["h2"],
    ...options,
  });
  onTestFinished(() => void socket.destroy());
  socket.on("error", () => undefined);
  await once(socket, "secureConnect");
  return socket;
}

describe("a caller from another machine", () => {
  it("has the identity of its certificate in the directory", async () => {
    const seen: CallContext[] = [];
    const { client } = await world({
      services: [networks({ list: (_, context) => (seen.push(context), { networks: [], nextPageToken: "" }) })],
    });
    await (await client()).networks.list({});
    expect(seen[0]?.identity).toEqual({ name: "ann", roles: ["client"] });
    const worker = await client({ name: "w2", role: "worker" });
    expect(await failure(worker.networks.list({}))).toMatchObject({ code: "API_DENIED" });
    await worker.service(HealthDefinition).check({});
  });

  it("with an invalid certificate gets one clear reason, and no call is run", async () => {
    const { client, listener } = await world({
      services: [networks({ list: () => expect.unreachable() })],
    });
    const foreign = await createTestAuthority({ clusterId });
    const expired = { notBefore: new Date(Date.now() - 2 * day), notAfter: new Date(Date.now() - day) };
    const reasons: [ApiClient, RegExp][] = [
      [await client({ name: "w2", role: "worker", ...expired }), /^certificate of w2: CERT_HAS_EXPIRED: it was valid/],
      [await client({ clusterId: "c2" }), /^certificate of ann: CLUSTER_MISMATCH/],
      [await client({}, foreign), /ISSUER_UNKNOWN/],
      [await client(expired, foreign), /ISSUER_UNKNOWN/],
      [await client({ usages: ["serverAuth"] }), /PURPOSE_INVALID/],
    ];
    for (const [each, reason] of reasons) {
      const error = await failure(each.networks.list({}));
      expect(error).toMatchObject({ code: "API_UNAUTHENTICATED", message: expect.stringMatching(reason) });
    }
    const anonymous = connect({
      host: listener.address,
      clusterId,
      credentials: { current: () => ({ ca: authority.root.toString() }) as Credentials },
    });
    onTestFinished(() => anonymous.close());
    expect(await failure(anonymous.networks.list({}))).toMatchObject({
      code: "API_UNAUTHENTICATED",
      message: "no certificate was shown",
    });
  });

  it("on a connection that the server does not know has no identity, and no call is run", async () => {
    const server = await startServer(
      { services: [networks({ list: () => expect.unreachable() }), events({})] },
      { socketPath: `${folder()}/m.sock` },
    );
    onTestFinished(() => server.close());
    const grpc = grpcServer(server.pipeline, () => undefined, { maxRequestBytes: 4_096, maxConcurrentCalls: 10 });
    const socket = `${folder()}/unknown.sock`;
    await new Promise<void>((resolve, reject) => {
      grpc.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) =>
        error === null ? resolve() : reject(error),
      );
    });
    onTestFinished(() => grpc.forceShutdown());
    const client = connect({ socket });
    onTestFinished(() => client.close());
    const calls = [client.networks.list({}), client.events.watch({})[Symbol.asyncIterator]().next()];
    for (const call of calls)
      expect(await failure(call)).toMatchObject({
        code: "API_UNAUTHENTICATED",
        message: "the connection of this call is unknown",
      });
  });

  it("that was removed is refused at its next call, and its connections can be closed", async () => {
    const { client, directory, listener } = await world({
      services: [
        networks(),
        events({
          async *watch() {
            yield { message: { $case: "synced", value: 1 } };
            await new Promise(() => undefined);
          },
        }),
      ],
    });
    const [ann, bob] = [await client(), await client({ name: "bob" })];
    const watches = [ann, bob].map((each) => each.events.watch({})[Symbol.asyncIterator]());
    for (const watch of watches) await watch.next();
    directory.removed.add("ann");
    expect(await failure(ann.networks.list({}))).toMatchObject({
      code: "API_UNAUTHENTICATED",
      message: "ann was removed from the cluster",
    });
    expect(listener.closeConnectionsOf("ann")).toBe(1);
    expect(await failure((watches[0] as AsyncIterator<unknown>).next())).toMatchObject({ code: "API_UNAVAILABLE" });
    await bob.networks.list({});
    expect(listener.closeConnectionsOf("ann")).toBe(0);
    await watches[1]?.return?.(undefined);
  });

  it("checks that the server is a manager of the cluster, whatever its address", async () => {
    const worker = await authority.issue({ name: "w2", role: "worker" });
    const posing = await authority.issue({
      name: "w2",
      role: "worker",
      names: ["DNS:w2.c1.warren", "DNS:manager.c1.warren", "URI:spiffe://c1/node/w2"],
    });
    for (const credentials of [worker, posing]) {
      const { client } = await world({ credentials: { current: () => credentials } });
      const error = await failure((await client()).networks.list({}));
      expect(error).toMatchObject({ code: "API_UNAVAILABLE", remedy: expect.stringContaining("manager.c1.warren") });
    }
  });
});

describe("the handshake", () => {
  it("is TLS 1.3 alone, without tickets, also after the credentials have changed", async () => {
    let current = managerCredentials;
    const { listener } = await world({ credentials: { current: () => current } });
    const before = (await dial(listener.address)).getPeerX509Certificate()?.serialNumber;
    current = await authority.issue({ name: "m1", role: "manager" });
    let session: Buffer | undefined;
    for (const _ of ["just after the change", "later", "once more"]) {
      const old = failure(dial(listener.address, { maxVersion: "TLSv1.2" }));
      expect(await old).toMatchObject({ code: expect.stringMatching(/PROTOCOL_VERSION|UNSUPPORTED/) });
      const socket = connectTls({
        ...port(listener.address),
        ca: authority.root.toString(),
        servername: `manager.${clusterId}.warren`,
        ALPNProtocols: ["h2"],
        ...(session === undefined ? {} : { session }),
      });
      socket.on("error", () => undefined);
      // What OpenSSL sends with tickets off names a session of the server's memory, where there is none.
      socket.on("session", (offered: Buffer) => (session = offered));
      await once(socket, "secureConnect");
      expect(socket.getProtocol()).toBe("TLSv1.3");
      expect(socket.isSessionReused()).toBe(false);
      expect(socket.getPeerX509Certificate()?.serialNumber).not.toBe(before);
      await once(socket, "data");
      expect(session).toBeDefined();
      socket.destroy();
    }
  });

  it("goes on with the credentials before where renewed ones can't be used, until others come", async () => {
    let current: () => Credentials = () => managerCredentials;
    const log = new RecordingLogger();
    const { listener } = await world({ credentials: { current: () => current() }, log });
    const serial = async (): Promise<string | undefined> =>
      (await dial(listener.address)).getPeerX509Certificate()?.serialNumber;
    const before = await serial();
    const broken = { ...managerCredentials, key: "half of a file" };
    current = () => broken;
    expect([await serial(), await serial()]).toEqual([before, before]);
    current = () => {
      throw new Error("no such file");
    };
    expect(await serial()).toBe(before);
    const renewed = await authority.issue({ name: "m1", role: "manager" });
    current = () => renewed;
    expect(await serial()).not.toBe(before);
  });

  it("that takes too long, or exceeds the limit, ends the connection", async () => {
    const { listener, metrics } = await world({}, { handshakeMs: 100, maxHandshakes: 2 });
    const mute = [0, 1].map(() => connectTcp(port(listener.address)));
    const closed = mute.map((socket) =>
      once(
        socket.on("error", () => undefined),
        "close",
      ),
    );
    await Promise.all(mute.map((socket) => once(socket, "connect")));
    const third = connectTcp(port(listener.address)).on("error", () => undefined);
    await once(third, "close");
    await Promise.all(closed);
    const refused = (reason: string): number | undefined =>
      metrics.values.get(`warren_api_refused_connections_total{reason="${reason}"}`);
    expect([refused("handshakes"), refused("handshake_slow")]).toEqual([1, 2]);
    await dial(listener.address);
  });

  it("of a connection past the limit of one address is refused, and accepted once another has closed", async () => {
    const { listener } = await world({}, { maxConnectionsPerAddress: 2 });
    const [first] = [await dial(listener.address), await dial(listener.address)];
    const third = connectTcp(port(listener.address)).on("error", () => undefined);
    await once(third, "close");
    first?.destroy();
    await until("a place is free", async () => {
      const socket: Socket = connectTcp(port(listener.address)).on("error", () => undefined);
      const open = await Promise.race([once(socket, "close").then(() => false), waitForSilence(socket)]);
      socket.destroy();
      return open;
    });
  });

  it("with an unknown protocol, or with garbage, closes that connection and no other", async () => {
    const { listener, client } = await world();
    expect(await failure(dial(listener.address, { ALPNProtocols: ["http/1.1"] }))).toBeInstanceOf(Error);
    expect(await failure(dial(listener.address, { ALPNProtocols: ["warren-raft/1"] }))).toBeInstanceOf(Error);
    const none = await dial(listener.address, { ALPNProtocols: [] });
    await once(none, "close");
    const garbage = connectTcp(port(listener.address)).on("error", () => undefined);
    garbage.end("GET / HTTP/1.1\r\n\r\n");
    await once(garbage, "close");
    const reset = connectTcp(port(listener.address)).on("error", () => undefined);
    await once(reset, "connect");
    reset.resetAndDestroy();
    const broken = await dial(listener.address);
    broken.resume();
    broken.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense that is longer than a frame's header");
    await once(broken, "close");
    await (await client()).networks.list({});
  });
});

/** Resolves true after the server has left the connection open for a while; a refused one is closed at once. */
async function waitForSilence(socket: Socket): Promise<boolean> {
  await once(socket, "connect");
  return new Promise((resolve) => socket.setTimeout(50, () => resolve(!socket.destroyed)));
}

describe("Raft's protocol", () => {
  it("reaches its handler with the manager's certificate, and no other caller does", async () => {
    const taken: [TLSSocket, Identity][] = [];
    const log = new RecordingLogger();
    const { listener } = await world({
      log,
      acceptRaft: (socket, identity) => {
        taken.push([socket, identity]);
        socket.end("raft here");
      },
    });
    const ALPNProtocols = ["warren-raft/1"];
    const manager = await authority.issue({ name: "m2", role: "manager" });
    const socket = await dial(listener.address, { ALPNProtocols, cert: manager.cert, key: manager.key });
    const [data] = (await once(socket, "data")) as [Buffer];
    expect(data.toString()).toBe("raft here");
    expect(taken[0]?.[1]).toMatchObject({ name: "m2", roles: ["manager"] });
    expect(taken[0]?.[0].getPeerX509Certificate()?.subject).toContain("CN=m2");
    const worker = await authority.issue({ name: "w2", role: "worker" });
    for (const credentials of [{ cert: worker.cert, key: worker.key }, {}]) {
      const refused = await dial(listener.address, { ALPNProtocols, ...credentials });
      await once(refused, "close");
    }
    expect(taken).toHaveLength(1);
    expect(log.records.filter(({ event }) => event === "a Raft connection was refused")).toHaveLength(2);
  });

  it("has its connections closed with the others of a name", async () => {
    const taken: TLSSocket[] = [];
    const { listener } = await world({ acceptRaft: (socket) => taken.push(socket) });
    const { cert, key } = await authority.issue({ name: "m2", role: "manager" });
    const socket = await dial(listener.address, { ALPNProtocols: ["warren-raft/1"], cert, key });
    await until("it is taken", () => taken.length === 1);
    expect(listener.closeConnectionsOf("m2")).toBe(1);
    await once(socket, "close");
  });
});

describe("credentials", () => {
  it("of a client are read for each connection", async () => {
    const { listener } = await world();
    let current: Credentials = await authority.issue({
      name: "ann",
      role: "client",
      notBefore: new Date(0),
      notAfter: new Date(day),
    });
    const client = connect({ host: listener.address, clusterId, credentials: { current: () => current } });
    onTestFinished(() => client.close());
    expect(await failure(client.networks.list({}))).toMatchObject({ code: "API_UNAUTHENTICATED" });
    current = await authority.issue({ name: "ann", role: "client" });
    await client.networks.list({});
  });

  it("that can't be used when they are renewed leave a client those before, with the calls under way", async () => {
    const { listener } = await world({
      services: [
        networks(),
        events({
          async *watch() {
            for (let value = 1; ; value++) yield { message: { $case: "synced", value } };
          },
        }),
      ],
    });
    const ann = await authority.issue({ name: "ann", role: "client" });
    let current: Credentials = ann;
    const client = connect({ host: listener.address, clusterId, credentials: { current: () => current } });
    onTestFinished(() => client.close());
    const watch = client.events.watch({})[Symbol.asyncIterator]();
    await watch.next();
    current = { ...ann, key: "half of a file" };
    expect(await failure(client.networks.list({}))).toMatchObject({ code: "API_INVALID" });
    expect((await watch.next()).value).toMatchObject({ message: { value: 2 } });
    current = ann;
    await client.networks.list({});
    await watch.return?.(undefined);
  });

  it.each([
    [{ host: "nowhere:99999" }, /host/],
    [{ host: "" }, /host/],
    [{ credentials: { current: () => ({ cert: "x", key: "y", ca: "z" }) } }, /credentials/],
  ])("and an address that can't be used are refused by name: %o", (wrong, why) => {
    const credentials = { current: () => managerCredentials };
    expect(() => connect({ host: "127.0.0.1", clusterId, credentials, ...wrong })).toThrow(why);
  });
});

describe("a call that is forwarded over the network", () => {
  it("reaches the leader with its caller's identity: one answer, a stream, both ways, and failures", async () => {
    const seen: CallContext[] = [];
    const services = [
      networks({
        get: ({ ref }, context) => {
          seen.push(context);
          if (ref === "broken") throw new TypeError("bug");
          return { meta: undefined, spec: undefined };
        },
      }),
      bind(EventsDefinition, {
        list: () => ({ events: [], nextPageToken: "" }),
        async *follow() {},
        async *watch(_, context) {
          seen.push(context);
          for (let value = 1; ; value++) yield { message: { $case: "synced" as const, value } };
        },
      }),
    ];
    const leader = await world({ services });
    let route: LeaderRoute = { kind: "nobody", why: "not yet" };
    const second = await authority.issue({ name: "m2", role: "manager" });
    const toLeader = connectToLeader({
      host: leader.listener.address,
      clusterId,
      credentials: { current: () => second },
    });
    onTestFinished(() => toLeader[Symbol.dispose]());
    const follower = await world({ services, leadership: { route: () => route, barrier: () => undefined } });
    const ann = await follower.client();
    expect(await failure(ann.networks.get({ ref: "x" }))).toMatchObject({ code: "API_UNAVAILABLE" });
    route = { kind: "leader", connection: toLeader };
    await ann.networks.get({ ref: "x" });
    const values: unknown[] = [];
    for await (const { message } of ann.events.watch({})) if (values.push(message?.value) === 3) break;
    expect(values).toEqual([1, 2, 3]);
    for (const context of seen) {
      expect(context.identity).toEqual({ name: "ann", roles: ["client"] });
      expect(context.forwardedBy).toBe("m2");
    }
    await until("the leader's stream has ended", () => seen[1]?.signal.aborted === true);
    expect(await failure(ann.networks.get({ ref: "broken" }))).toMatchObject({ code: "API_INTERNAL" });
    await ann.networks.get({ ref: "x" }, { stale: true });
    expect(seen.at(-1)?.forwardedBy).toBeUndefined();
    leader.directory.removed.add("ann");
    expect(await failure(ann.networks.get({ ref: "x" }))).toMatchObject({
      message: "ann was removed from the cluster",
    });
    await leader.server.close();
    leader.directory.removed.clear();
    expect(await failure(ann.networks.get({ ref: "x" }))).toMatchObject({ code: "API_UNAVAILABLE" });
  });

  it("whose leader dies before its response has an unknown outcome", async () => {
    const entered = Promise.withResolvers<void>();
    const leader = await world({
      services: [networks({ get: () => (entered.resolve(), new Promise(() => undefined)) })],
    });
    const second = await authority.issue({ name: "m2", role: "manager" });
    const connection = connectToLeader({
      host: leader.listener.address,
      clusterId,
      credentials: { current: () => second },
    });
    onTestFinished(() => connection[Symbol.dispose]());
    const follower = await world({
      leadership: { route: () => ({ kind: "leader", connection }), barrier: () => undefined },
    });
    const call = failure((await follower.client()).networks.get({ ref: "x" }));
    await entered.promise;
    await leader.server.close();
    expect(await call).toMatchObject({ code: "API_OUTCOME_UNKNOWN" });
  });
});

describe("the end", () => {
  it("drains the network too: streams end with a reason, a call under way is answered, then all connections are closed", async () => {
    const go = Promise.withResolvers<void>();
    const entered = Promise.withResolvers<void>();
    const { server, listener, client } = await world({
      services: [
        networks({
          get: async () => {
            entered.resolve();
            await go.promise;
            return { meta: undefined, spec: undefined };
          },
        }),
        events({
          async *watch() {
            yield { message: { $case: "synced", value: 1 } };
            await new Promise(() => undefined);
          },
        }),
      ],
    });
    const ann = await client();
    const watch = ann.events.watch({})[Symbol.asyncIterator]();
    await watch.next();
    const call = ann.networks.get({ ref: "x" });
    await entered.promise;
    const drained = server.drain({ graceMs: 60_000 });
    expect(await failure(watch.next())).toMatchObject({ code: "API_UNAVAILABLE", remedy: "connect again" });
    go.resolve();
    await call;
    await drained;
    const late = connectTcp(port(listener.address));
    expect(await failure(once(late, "connect"))).toMatchObject({ code: "ECONNREFUSED" });
  });

  it("an address that is in use or invalid is refused with what to do", async () => {
    const { server, listener } = await world();
    const network = {
      credentials: { current: () => managerCredentials },
      directory: new TestDirectory(authority.root, clusterId),
    };
    await expect(server.listen(network, { address: listener.address })).rejects.toMatchObject({
      code: "SERVER_ADDRESS_UNUSABLE",
    });
    await expect(server.listen(network, { address: "2377" })).rejects.toMatchObject({ code: "SERVER_OPTIONS_INVALID" });
  });
});
