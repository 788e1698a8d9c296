import type { ProbeTransport } from "../seams.ts";
import type { ContractCase } from "@warren/std/testing";
import { check, equal, rejects } from "./contract.ts";

/** A transport, and servers for its probes. */
export interface ProbesUnderTest {
  readonly transport: ProbeTransport;
  /** A server that answers GET with `status`, and 302 on `/moved`. */
  readonly serve: (
    status: number,
  ) => Promise<{ readonly address: string; readonly port: number; readonly paths: string[] }>;
  /** A server that accepts connections and never answers. */
  readonly silent: () => Promise<{
    readonly address: string;
    readonly port: number;
    readonly connected: Promise<void>;
  }>;
  /** A closed port. */
  readonly nobody: () => Promise<{ readonly address: string; readonly port: number }>;
}

const never = new AbortController().signal;

/** What every `ProbeTransport` must do. */
export const probeTransportContract: readonly ContractCase<ProbesUnderTest>[] = [
  {
    title: "resolves with the status of the answer, and follows no redirect",
    async run({ transport, serve }) {
      const { address, port, paths } = await serve(204);
      equal(await transport.http({ address, port, path: "/ready?x=1" }, never), 204);
      equal(await transport.http({ address, port, path: "/moved" }, never), 302);
      equal(paths, ["/ready?x=1", "/moved"]);
      await transport.tcp({ address, port }, never);
    },
  },
  {
    title: "rejects at a closed port",
    async run({ transport, nobody }) {
      const target = await nobody();
      await rejects(transport.tcp(target, never), "tcp");
      await rejects(transport.http({ ...target, path: "/" }, never), "http");
    },
  },
  {
    title: "rejects when its signal aborts, at a server that does not answer",
    async run({ transport, silent }) {
      const { connected, ...target } = await silent();
      const late = new AbortController();
      const asked = rejects(transport.http({ ...target, path: "/" }, late.signal), "a probe that is over");
      await connected;
      late.abort(new Error("too late"));
      await asked;
      await rejects(transport.tcp(target, late.signal), "a probe that was over before");
      check(late.signal.aborted, "the signal is aborted");
    },
  },
];
