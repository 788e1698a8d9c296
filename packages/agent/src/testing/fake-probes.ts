import { abortable } from "@warren/std";
import type { ProbeTransport } from "../seams.ts";

/** Probes of servers that a script plays. */
export class FakeProbes implements ProbeTransport {
  /**
   * What listens at a port: the status that it answers a path with, or a server that takes connections and never says a
   * word. Undefined: nobody listens.
   */
  server: (port: number, path: string) => number | "silent" | undefined = () => 200;

  async http({ port, path }: { readonly port: number; readonly path: string }, signal: AbortSignal): Promise<number> {
    const answer = this.#reach(port, path, signal);
    return answer === "silent" ? abortable(new Promise<never>(() => undefined), signal) : answer;
  }

  async tcp({ port }: { readonly port: number }, signal: AbortSignal): Promise<void> {
    this.#reach(port, "", signal);
  }

  #reach(port: number, path: string, signal: AbortSignal): number | "silent" {
    signal.throwIfAborted();
    const answer = this.server(port, path);
    if (answer === undefined) throw new Error(`ECONNREFUSED: nobody listens at port ${port}`);
    return answer;
  }
}
