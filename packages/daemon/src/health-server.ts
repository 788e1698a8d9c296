import { createServer, type Server } from "node:http";
import { formatHostPort, parseHostPort, type HostPort } from "@warren/std";
import { DaemonError } from "./errors.ts";
import type { PrometheusMetrics } from "./metrics.ts";

export interface HealthServerOptions {
  /** `ADDRESS:PORT`; an IPv6 address in brackets. Port 0: any free one. */
  readonly address: string;
}

export interface HealthServer extends AsyncDisposable {
  /** Where it listens, with the port it got. */
  readonly address: string;
  close(): Promise<void>;
}

/**
 * `/metrics` for Prometheus, `/healthz` (200 while the process lives) and `/readyz` (200, or 503 with the reason).
 * It has no access control, so it belongs on loopback.
 *
 * @param notReady why the daemon can't do its work yet; undefined when it can
 * @throws DaemonError `DAEMON_ADDRESS_INVALID`, `DAEMON_ADDRESS_IN_USE`
 */
export async function startHealthServer(
  prometheus: PrometheusMetrics,
  notReady: () => string | undefined,
  options: HealthServerOptions,
): Promise<HealthServer> {
  const server = createServer((request, response) => {
    const answer = (status: number, text: string, type = "text/plain; charset=utf-8"): void => {
      response.writeHead(status, { "content-type": type }).end(request.method === "HEAD" ? undefined : text);
    };
    if (request.method !== "GET" && request.method !== "HEAD") return answer(405, "only GET and HEAD\n");
    switch (request.url?.split("?")[0]) {
      case "/metrics":
        prometheus.text().then(
          (text) => answer(200, text, prometheus.contentType),
          (error: unknown) => answer(500, `${String(error)}\n`),
        );
        return;
      case "/healthz":
        return answer(200, "ok\n");
      case "/readyz": {
        const reason = notReady();
        return reason === undefined ? answer(200, "ok\n") : answer(503, `${reason}\n`);
      }
      default:
        return answer(404, "there is /metrics, /healthz and /readyz\n");
    }
  });
  const { host, port } = addressOf(options.address);
  await listen(server, host, port, options.address);
  const bound = server.address();
  const boundPort = typeof bound === "object" && bound !== null ? bound.port : port;
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { address: formatHostPort({ host, port: boundPort }), close, [Symbol.asyncDispose]: close };
}

function addressOf(text: string): HostPort {
  const address = parseHostPort(text);
  if (address !== undefined) return address;
  throw new DaemonError(
    { code: "DAEMON_ADDRESS_INVALID", address: text },
    `'${text}' is not ADDRESS:PORT: give for example 127.0.0.1:9090`,
  );
}

function listen(server: Server, host: string, port: number, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const inUse = cause.code === "EADDRINUSE";
      const why = inUse ? "another process listens there" : "the address cannot be used";
      const code = inUse ? "DAEMON_ADDRESS_IN_USE" : "DAEMON_ADDRESS_INVALID";
      reject(
        new DaemonError({ code, address }, `metrics on ${address}: ${why}: choose another with --metrics-addr`, {
          cause,
        }),
      );
    });
    server.listen(port, host, () => resolve());
  });
}
