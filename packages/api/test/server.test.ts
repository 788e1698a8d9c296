import { existsSync, mkdirSync, readdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import {
  ClustersDefinition,
  DispatcherDefinition,
  EventsDefinition,
  HealthCheckResponse_ServingStatus,
  HealthDefinition,
  NetworksDefinition,
  NodesDefinition,
  RegistriesDefinition,
  VolumesDefinition,
  ImagesDefinition,
  ServicesDefinition,
  TasksDefinition,
} from "@warren/api";
import { connect } from "@warren/api/client";
import { authorizeByRole, localIdentity, rolesOf, ServerError, startServer } from "@warren/api/server";
import { FakeClock, RecordingLogger } from "@warren/std/testing";
import { describe, expect, it } from "vitest";
import { events, folder, networks, serve } from "./fixture.ts";

const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;

describe("the socket", () => {
  it("is open to its owner alone, in a folder that is created for it, and is removed with the server", async () => {
    const path = join(folder(), "run", "m.sock");
    const server = await startServer({ services: [] }, { socketPath: path });
    expect(statSync(path).mode & 0o7777).toBe(0o600);
    expect(readdirSync(join(path, ".."))).toEqual(["m.sock"]);
    await server.close();
    await server.close();
    expect(existsSync(path)).toBe(false);
  });

  it("that a killed process left behind is replaced", async () => {
    const path = join(folder(), "m.sock");
    const script = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => console.log("up"))`;
    const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
    await once(child.stdout, "data");
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(statSync(path).isSocket()).toBe(true);
    await using _ = await startServer({ services: [networks()] }, { socketPath: path });
    using client = connect({ socket: path });
    await client.networks.list({});
  });

  it("on which another process listens is not replaced", async () => {
    const { client, socket } = await serve([networks()]);
    const error: unknown = await startServer({ services: [] }, { socketPath: socket }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(ServerError);
    expect(error).toMatchObject({ code: "SERVER_SOCKET_IN_USE" });
    await client.networks.list({});
  });

  it("never replaces a file that is not a socket", async () => {
    const path = join(folder(), "m.sock");
    writeFileSync(path, "precious");
    await expect(startServer({ services: [] }, { socketPath: path })).rejects.toMatchObject({
      code: "SERVER_SOCKET_UNUSABLE",
    });
    const dangling = join(folder(), "link");
    symlinkSync("/nowhere", dangling);
    await expect(startServer({ services: [] }, { socketPath: dangling })).rejects.toMatchObject({
      code: "SERVER_SOCKET_UNUSABLE",
    });
  });

  it("is left alone at the end if another socket has taken its path", async () => {
    const path = join(folder(), "m.sock");
    const first = await startServer({ services: [] }, { socketPath: path });
    const { renameSync, rmSync } = await import("node:fs");
    rmSync(path);
    const other = `${path}2`;
    const second = await startServer({ services: [] }, { socketPath: other });
    renameSync(other, path);
    await first.close();
    expect(statSync(path).isSocket()).toBe(true);
    await second.close();
    expect(statSync(path).isSocket()).toBe(true);
  });

  it.each([
    ["relative.sock", /absolute/],
    [`/tmp/${"x".repeat(200)}`, /too long/],
  ])("refuses the path %s", async (socketPath, why) => {
    await expect(startServer({ services: [] }, { socketPath })).rejects.toThrow(why);
  });

  it("refuses limits below one, by name", async () => {
    const socketPath = join(folder(), "m.sock");
    await expect(startServer({ services: [] }, { socketPath, maxRequestBytes: 0 })).rejects.toThrow(/maxRequestBytes/);
    mkdirSync(socketPath);
    await expect(startServer({ services: [] }, { socketPath })).rejects.toThrow(/not a socket/);
  });
});

describe("authorisation", () => {
  it("every method of every service is in the table", () => {
    for (const definition of [
      ClustersDefinition,
      ServicesDefinition,
      TasksDefinition,
      NodesDefinition,
      NetworksDefinition,
      RegistriesDefinition,
      VolumesDefinition,
      ImagesDefinition,
      EventsDefinition,
      DispatcherDefinition,
    ]) {
      for (const { name } of Object.values(definition.methods))
        expect(rolesOf(`/${definition.fullName}/${name}`), name).not.toEqual([]);
    }
  });

  it("the local socket is an operator and a worker; a worker is not an operator; an unknown method is refused", () => {
    const worker = { name: "node", roles: ["worker"] } as const;
    const operator = { name: "ann", roles: ["client"] } as const;
    authorizeByRole(localIdentity, "/warren.v1.Services/Create");
    authorizeByRole(localIdentity, "/warren.v1.Dispatcher/Session");
    authorizeByRole(worker, "/warren.v1.Dispatcher/Session");
    authorizeByRole(worker, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo");
    expect(() => authorizeByRole(worker, "/warren.v1.Services/Create")).toThrow(/needs client/);
    expect(() => authorizeByRole(operator, "/warren.v1.Dispatcher/Session")).toThrow(/needs worker/);
    expect(() => authorizeByRole(localIdentity, "/warren.v1.Services/Nothing")).toThrow(/nobody/);
  });

  it("a refused call never reaches its handler", async () => {
    let reached = false;
    const { client } = await serve(
      [networks({ list: () => ((reached = true), { networks: [], nextPageToken: "" }) })],
      {
        authorize: (identity, path) => authorizeByRole({ ...identity, roles: ["worker"] }, path),
      },
    );
    await expect(client.networks.list({})).rejects.toMatchObject({ code: "API_DENIED" });
    expect(reached).toBe(false);
  });
});

describe("health", () => {
  it("reports each service, the whole, and changes", async () => {
    const { server, client } = await serve([networks()]);
    const health = client.service(HealthDefinition);
    expect(await health.check({})).toEqual({ status: SERVING });
    expect(await health.check({ service: "warren.v1.Networks" })).toEqual({ status: SERVING });
    await expect(health.check({ service: "x" })).rejects.toMatchObject({ code: "API_NOT_FOUND" });
    const watch = health.watch({ service: "warren.v1.Networks" })[Symbol.asyncIterator]();
    expect((await watch.next()).value).toEqual({ status: SERVING });
    server.setServing("warren.v1.Networks", true);
    server.setServing("warren.v1.Networks", false);
    expect((await watch.next()).value).toEqual({ status: NOT_SERVING });
    await watch.return?.(undefined);
    const unknown = health.watch({ service: "x" })[Symbol.asyncIterator]();
    expect((await unknown.next()).value).toEqual({ status: SERVICE_UNKNOWN });
    await unknown.return?.(undefined);
  });
});

describe("the end", () => {
  it("drains: streams end at once, calls under way are answered, new ones are refused", async () => {
    const entered = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    const log = new RecordingLogger();
    const { server, client, socket } = await serve(
      [
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
      { log },
    );
    const watch = client.events.watch({})[Symbol.asyncIterator]();
    await watch.next();
    const call = client.networks.get({ ref: "x" });
    await entered.promise;
    const drained = server.drain({ graceMs: 60_000 });
    await expect(watch.next()).rejects.toMatchObject({ code: "API_UNAVAILABLE", remedy: "connect again" });
    using late = connect({ socket });
    await expect(late.networks.list({})).rejects.toMatchObject({ code: "API_UNAVAILABLE" });
    go.resolve();
    await expect(call).resolves.toBeDefined();
    await drained;
    await server.drain({ graceMs: 0 });
    expect(existsSync(socket)).toBe(false);
    expect(log.records.filter(({ event }) => event === "closed")).toHaveLength(1);
  });

  it("does not wait longer than the grace period for a call that hangs", async () => {
    const clock = new FakeClock();
    const entered = Promise.withResolvers<void>();
    const gone = Promise.withResolvers<void>();
    const { server, client } = await serve(
      [
        networks({
          get: (_, { signal }) => {
            entered.resolve();
            signal.addEventListener("abort", () => gone.resolve());
            return new Promise(() => undefined);
          },
        }),
      ],
      { clock },
    );
    const call = client.networks.get({ ref: "x" }).catch((error: unknown) => error);
    await entered.promise;
    const drained = server.drain({ graceMs: 5_000 });
    clock.advance(5_000);
    await drained;
    expect(await call).toMatchObject({ code: "API_OUTCOME_UNKNOWN" });
    await gone.promise;
  });
});
