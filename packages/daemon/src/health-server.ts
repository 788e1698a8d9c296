import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { errorText, formatHostPort, silentLogger, type Logger, parseHostPort, type HostPort } from "@warren/std";
import { DaemonError } from "./errors.ts";
import type { PrometheusMetrics } from "./metrics.ts";

export interface HealthServerOptions {
  /** `ADDRESS:PORT`; an IPv6 address in brackets. Port 0: any free one. */
  readonly address: string;
}

export interface HealthServer extends AsyncDisposable {
  /** Where it listens, with the actual port. */
  readonly address: string;
  close(): Promise<void>;
}

/**
 * `/metrics` for Prometheus, `/healthz` (200 while the process lives) and `/readyz` (200, or 503 with the reason).
 * It has no access control, so it belongs on loopback.
 *
 * @param notReady why the daemon can't do its work yet; undefined when it can. If it throws, the response is 500
 * @param log gets what goes wrong with connections
 * @throws DaemonError `DAEMON_ADDRESS_INVALID`, `DAEMON_ADDRESS_IN_USE`
 */
export async function startHealthServer(
  prometheus: PrometheusMetrics,
  notReady: () => string | undefined,
  options: HealthServerOptions,
  log: Logger = silentLogger,
): Promise<HealthServer> {
  const server = createServer((request, response) => {
    for (const half of [request, response]) half.on("error", () => undefined); // The connection closes with it.
    void answer(request, response, prometheus, notReady);
  });
  const { host, port } = addressOf(options.address);
  await listen(server, host, port, options.address);
  // A connection could not be accepted, without file descriptors left for example; its client tries again.
  server.on("error", (error) => log.warn("a connection to /metrics could not be accepted", { error }));
  const bound = server.address();
  const boundPort = typeof bound === "object" && bound !== null ? bound.port : port;
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return { address: formatHostPort({ host, port: boundPort }), close, [Symbol.asyncDispose]: close };
}

/** Never rejects. */
async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  prometheus: PrometheusMetrics,
  notReady: () => string | undefined,
): Promise<void> {
  const plain = "text/plain; charset=utf-8";
  try {
    const { status, text, type = plain } = await respond(prometheus, notReady, request);
    response.writeHead(status, { "content-type": type }).end(request.method === "HEAD" ? undefined : text);
  } catch (error) {
    if (response.headersSent) response.destroy();
    else response.writeHead(500, { "content-type": plain }).end(`${errorText(error)}\n`);
  }
}

interface Response {
  readonly status: number;
  readonly text: string;
  readonly type?: string;
}

/** Rejects where a metric or `notReady` fails; the response is then 500. */
async function respond(
  prometheus: PrometheusMetrics,
  notReady: () => string | undefined,
  { method, url }: IncomingMessage,
): Promise<Response> {
  if (method !== "GET" && method !== "HEAD") return { status: 405, text: "only GET and HEAD\n" };
  switch (url?.split("?")[0]) {
    case "/metrics":
      return { status: 200, text: await prometheus.text(), type: prometheus.contentType };
    case "/healthz":
      return { status: 200, text: "ok\n" };
    case "/readyz": {
      const reason = notReady();
      return reason === undefined ? { status: 200, text: "ok\n" } : { status: 503, text: `${reason}\n` };
    }
    default:
      return { status: 404, text: "not found: use /metrics, /healthz or /readyz\n" };
  }
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
    server.listen(port, host, () => {
      server.removeAllListeners("error");
      resolve();
    });
  });
}
