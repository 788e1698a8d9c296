import { noMetrics, type Clock, type Counter, type Gauge, type Histogram, type Metrics, type Timer } from "@warren/std";

/** Where a reply came from. `error`: there was no answer. */
export type Source = "names" | "cache" | "stale" | "upstream" | "error";

const flushMs = 1_000;

/**
 * A name server's metrics. Replies are counted in plain numbers and added to the counters once a second while there are
 * any: at 100,000 replies a second, calls of the metric handles would take most of the time.
 */
export class DnsMetrics {
  readonly tries: Counter;
  readonly dropped: Counter;
  readonly upstreamSeconds: Histogram;
  readonly cacheBytes: Gauge;
  readonly connections: Gauge;
  readonly #replies: Counter;
  readonly #clock: Clock;
  readonly #counts = { names: 0, cache: 0, stale: 0, upstream: 0, error: 0 };
  #timer: Timer | undefined;
  #open = true;

  constructor(clock: Clock, metrics: Metrics = noMetrics) {
    this.#clock = clock;
    this.#replies = metrics.counter({
      name: "warren_dns_replies_total",
      help: "Replies to clients, by where they came from.",
      labels: ["source"],
    });
    this.tries = metrics.counter({
      name: "warren_dns_upstream_tries_total",
      help: "Questions sent to upstream name servers, by outcome: answered, failed.",
      labels: ["outcome"],
    });
    this.dropped = metrics.counter({
      name: "warren_dns_dropped_total",
      help: "What was not answered: unreadable messages, replies that could not be sent, connections past the limit.",
      labels: ["reason"],
    });
    this.upstreamSeconds = metrics.histogram({
      name: "warren_dns_upstream_seconds",
      help: "Time from a question that the cache did not hold to its answer from upstream.",
      buckets: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3],
    });
    this.cacheBytes = metrics.gauge({ name: "warren_dns_cache_bytes", help: "Memory that cached answers take." });
    this.connections = metrics.gauge({ name: "warren_dns_tcp_connections", help: "Open TCP connections of clients." });
  }

  count(source: Source): void {
    this.#counts[source] += 1;
    if (this.#open) this.#timer ??= this.#clock.setTimeout(() => this.#flush(), flushMs);
  }

  /** Adds what was counted to the counters; what is counted later is lost. */
  close(): void {
    this.#open = false;
    this.#flush();
  }

  #flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    for (const source of Object.keys(this.#counts) as Source[]) {
      if (this.#counts[source] > 0) this.#replies.add(this.#counts[source], { source });
      this.#counts[source] = 0;
    }
  }
}
