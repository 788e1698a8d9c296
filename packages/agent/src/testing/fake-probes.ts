import { abortable } from "@warren/std";
import type { ProbeTransport } from "../seams.ts";

/** Probes of scripted servers. */
export class FakeProbes implements ProbeTransport {
  /**
   * The server at a port: the status of its answer for a path, or `silent` for one that accepts connections and never
   * answers. Undefined: the port is closed.
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
    if (answer === undefined) throw new Error(`ECONNREFUSED: port ${port} is closed`);
    return answer;
  }
}
