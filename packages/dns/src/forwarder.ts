import { errorText, type Clock, type Logger, type Random, type Timer } from "@warren/std";
import { AnswerCache, type CachedAnswer } from "./answer-cache.ts";
import { readAnswer, replyFrom, type Answer } from "./cached-answer.ts";
import { exchangeTcp, exchangeUdp, type Accepts } from "./exchange.ts";
import {
  flag,
  headerBytes,
  opcodeMask,
  optBytes,
  putUint16,
  questionKey,
  rcode,
  rcodeMask,
  recordType,
  sameQuestion,
  uint16,
  type Query,
} from "./message.ts";
import type { DnsMetrics } from "./metrics.ts";
import { readEndpoint, type Endpoint, type ResolvedOptions } from "./options.ts";
import { ReplyBuilder, rcodeName, type ExtendedError } from "./reply.ts";
import type { Client } from "./types.ts";

/** Codes of RFC 8914. */
const staleAnswer = 3;
const staleNxdomain = 19;
const noReachableAuthority = 22;
const otherError = 0;

/** A stale answer is returned when no upstream has answered for this long, ms; RFC 8767 §5. */
const staleAfterMs = 1_800;
/** TTL of a stale answer, and how long after a failure stale answers are returned at once, seconds; RFC 8767 §5. */
const staleTtlSeconds = 30;
/** A question that failed is not sent upstream again for this long, ms. RFC 9520 requires one second or more. */
const failureMs = 5_000;
/** Failed questions that are remembered, at most. */
const failureLimit = 4_096;
/** An upstream that did not answer in time is tried after the others for this long, ms. */
const penaltyMs = 30_000;
/** Tries of each upstream for one question. */
const rounds = 2;
/** Groups of upstreams that are remembered beside the server's own; the least recently used go first. */
const groupLimit = 256;

type Outcome = { readonly answer: Answer } | { readonly failure: string };

interface Upstream {
  readonly endpoint: Endpoint;
  /** It refused EDNS: questions go to it without OPT. */
  plain: boolean;
  /** Until when it is tried after the others, in `monotonic()` time. */
  penaltyUntilMs: number;
  failing: boolean;
}

/** Upstreams that are asked for the same clients. What they answered or failed at is those clients' alone. */
interface Group {
  /** Begins the keys of its questions. */
  readonly prefix: string;
  readonly upstreams: readonly Upstream[];
}

export interface ForwarderDependencies {
  /** Upstreams of one client, as `DnsServerDependencies` has it. */
  readonly upstreamsOf?: ((client: Client) => readonly string[]) | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: DnsMetrics;
}

/**
 * Forwards questions about other names to the upstreams, and caches the answers.
 *
 * - Equal questions under way are coalesced into one. So a loop (an upstream that forwards to this server) ends at once.
 * - Tries overlap: after `retryMs` without an answer the next upstream is asked too, and a late answer of the first still
 *   counts, so that links with seconds of delay work. After a failure the next upstream is asked at once.
 * - While no upstream answers, expired answers are served for days (RFC 8767).
 */
export class Forwarder {
  readonly #upstreamsOf: (client: Client) => readonly string[];
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Logger;
  readonly #metrics: DnsMetrics;
  readonly #options: ResolvedOptions;
  readonly #cache: AnswerCache;
  readonly #pending = new Map<string, Promise<Outcome>>();
  readonly #waiting = new Map<string, number>();
  #waitingTotal = 0;
  /** When each question last failed, in `monotonic()` time, oldest first. */
  readonly #failures = new Map<string, number>();
  readonly #closed = new AbortController();
  /** Of clients that have none of their own. */
  #group: Group = { prefix: "", upstreams: [] };
  /** Of clients that have their own, by these, in the order of use. */
  readonly #groups = new Map<string, Group>();
  #groupsMade = 0;
  #own: readonly Endpoint[] = [];

  constructor(
    { upstreamsOf = () => [], clock, random, log, metrics }: ForwarderDependencies,
    options: ResolvedOptions,
  ) {
    this.#upstreamsOf = upstreamsOf;
    this.#clock = clock;
    this.#random = random;
    this.#log = log;
    this.#metrics = metrics;
    this.#options = options;
    this.#cache = new AnswerCache(clock, options.cache.bytes, options.cache.staleSeconds);
  }

  /** Where this server listens: it is never its own upstream. Called before the first question. */
  setOwn(endpoints: readonly Endpoint[]): void {
    this.#own = endpoints;
  }

  /** Asks these from the next question on, for clients that have none of their own. What failed before is asked again. */
  setUpstreams(endpoints: readonly Endpoint[]): void {
    const known = this.#group.upstreams;
    this.#failures.clear();
    this.#group = { prefix: "", upstreams: this.#upstreamsAt(endpoints, known) };
  }

  #upstreamsAt(endpoints: readonly Endpoint[], known: readonly Upstream[]): Upstream[] {
    return endpoints
      .filter((endpoint) => !this.#own.some((own) => sameEndpoint(own, endpoint)))
      .map(
        (endpoint) =>
          known.find((each) => sameEndpoint(each.endpoint, endpoint)) ?? {
            endpoint,
            plain: false,
            penaltyUntilMs: 0,
            failing: false,
          },
      );
  }

  #groupOf(client: Client): Group {
    const names = this.#upstreamsOf(client);
    if (names.length === 0) return this.#group;
    const key = names.join(" ");
    const known = this.#groups.get(key);
    const group = known ?? {
      prefix: `${(this.#groupsMade += 1)}/`,
      upstreams: this.#upstreamsAt(
        names.flatMap((name) => readEndpoint(name) ?? []),
        [],
      ),
    };
    this.#groups.delete(key);
    this.#groups.set(key, group);
    const [oldest] = this.#groups.keys();
    if (this.#groups.size > groupLimit && oldest !== undefined) this.#groups.delete(oldest);
    // A list with only this server counts as empty.
    return group.upstreams.length === 0 ? this.#group : group;
  }

  close(): void {
    this.#closed.abort(new DOMException("closed", "AbortError"));
  }

  /** Returns the reply itself, and no promise, where the cache or a limit decides. */
  reply(query: Query, client: Client, limit: number): Buffer | Promise<Buffer> {
    const group = this.#groupOf(client);
    const key = group.prefix + this.#key(query);
    const cached = this.#cache.get(key);
    if (cached?.fresh === true) {
      this.#metrics.count("cache");
      return this.#from(cached.answer, query, limit, cached.ageSeconds);
    }
    const sinceFailureMs = this.#clock.monotonic() - (this.#failures.get(key) ?? Number.NEGATIVE_INFINITY);
    if (cached !== undefined && sinceFailureMs < staleTtlSeconds * 1_000) return this.#stale(cached, query, limit);
    if (sinceFailureMs < failureMs)
      return this.#failed(query, limit, { infoCode: noReachableAuthority, text: "no upstream answered a moment ago" });
    if ((query.flags & flag.recursionDesired) === 0) return this.#empty(query, rcode.REFUSED, limit);
    const waiting = this.#waiting.get(client.address) ?? 0;
    if (waiting >= this.#options.forward.pendingPerClient || this.#waitingTotal >= this.#options.forward.pending)
      return this.#failed(query, limit, { infoCode: otherError, text: "too many questions are under way" });
    return this.#wait(query, client.address, group, key, limit, cached);
  }

  async #wait(
    query: Query,
    client: string,
    group: Group,
    key: string,
    limit: number,
    cached: CachedAnswer | undefined,
  ): Promise<Buffer> {
    this.#waiting.set(client, (this.#waiting.get(client) ?? 0) + 1);
    this.#waitingTotal += 1;
    try {
      const outcome = await this.#outcomeOrLate(group, key, query, cached !== undefined);
      if (outcome !== "late" && "answer" in outcome) {
        this.#metrics.count("upstream");
        return this.#from(outcome.answer, query, limit, 0);
      }
      if (cached !== undefined) return this.#stale(cached, query, limit);
      const text = outcome === "late" ? "" : outcome.failure;
      return this.#failed(query, limit, { infoCode: noReachableAuthority, text });
    } finally {
      this.#waitingTotal -= 1;
      const left = (this.#waiting.get(client) ?? 1) - 1;
      if (left === 0) this.#waiting.delete(client);
      else this.#waiting.set(client, left);
    }
  }

  /** What upstream says; where there is something stale to give instead, only within `staleAfterMs`. */
  async #outcomeOrLate(group: Group, key: string, query: Query, impatient: boolean): Promise<Outcome | "late"> {
    const lookup = this.#pending.get(key) ?? this.#look(group, key, query);
    if (!impatient) return lookup;
    const late = Promise.withResolvers<"late">();
    const timer = this.#clock.setTimeout(() => late.resolve("late"), staleAfterMs);
    try {
      return await Promise.race([lookup, late.promise]);
    } finally {
      timer.cancel();
    }
  }

  /** Questions that differ in DO or CD have different answers. */
  #key(query: Query): string {
    const bits = (query.edns?.dnssecOk === true ? 1 : 0) | ((query.flags & flag.checkingDisabled) === 0 ? 0 : 2);
    return `${bits}${questionKey(query.bytes, query.end)}`;
  }

  #look(group: Group, key: string, query: Query): Promise<Outcome> {
    const beginMs = this.#clock.monotonic();
    const lookup = this.#tryAll(group, query).then((outcome) => {
      this.#pending.delete(key);
      this.#failures.delete(key);
      if ("answer" in outcome) {
        this.#metrics.upstreamSeconds.observe((this.#clock.monotonic() - beginMs) / 1_000);
        this.#cache.put(key, outcome.answer);
        this.#metrics.cacheBytes.set(this.#cache.bytes);
      } else {
        this.#failures.set(key, this.#clock.monotonic());
        const [oldest] = this.#failures.keys();
        if (this.#failures.size > failureLimit && oldest !== undefined) this.#failures.delete(oldest);
      }
      return outcome;
    });
    this.#pending.set(key, lookup);
    return lookup;
  }

  /** Those that answered lately first; then in the order that was given. */
  #plan({ upstreams }: Group): Upstream[] {
    const now = this.#clock.monotonic();
    const [late, good] = [true, false].map((isLate) =>
      upstreams.filter(({ penaltyUntilMs }) => penaltyUntilMs > now === isLate),
    ) as [Upstream[], Upstream[]];
    return Array.from({ length: rounds }, () => [...good, ...late]).flat();
  }

  #tryAll(group: Group, query: Query): Promise<Outcome> {
    const plan = this.#plan(group);
    if (plan.length === 0) return Promise.resolve({ failure: "no upstream name server is known" });
    const { retryMs, timeoutMs } = this.#options.forward;
    const ended = new AbortController();
    const signal = AbortSignal.any([ended.signal, this.#closed.signal]);
    return new Promise((resolve) => {
      let begun = 0;
      let failed = 0;
      let retry: Timer | undefined;
      const finish = (outcome: Outcome): void => {
        if (ended.signal.aborted) return;
        retry?.cancel();
        deadline.cancel();
        ended.abort(new DOMException("another try was faster", "AbortError"));
        resolve(outcome);
      };
      const deadline = this.#clock.setTimeout(
        () => finish({ failure: `no upstream answered within ${timeoutMs} ms` }),
        timeoutMs,
      );
      const tryNext = (): void => {
        retry?.cancel();
        const upstream = plan[begun];
        if (upstream === undefined) return;
        begun += 1;
        retry = this.#clock.setTimeout(() => {
          this.#markFailing(upstream, `no answer within ${retryMs} ms`);
          tryNext();
        }, retryMs);
        this.#try(upstream, query, signal).then(
          (answer) => {
            if (ended.signal.aborted) return;
            this.#metrics.tries.add(1, { outcome: "answered" });
            this.#markAnswering(upstream);
            finish({ answer });
          },
          (error: unknown) => {
            if (ended.signal.aborted) return;
            this.#metrics.tries.add(1, { outcome: "failed" });
            failed += 1;
            this.#markFailing(upstream, errorText(error));
            if (failed === plan.length || this.#closed.signal.aborted)
              finish({ failure: `${upstream.endpoint.address}: ${errorText(error)}` });
            else tryNext();
          },
        );
      };
      tryNext();
    });
  }

  #markFailing(upstream: Upstream, why: string): void {
    upstream.penaltyUntilMs = this.#clock.monotonic() + penaltyMs;
    if (upstream.failing || this.#closed.signal.aborted) return;
    upstream.failing = true;
    this.#log.warn("an upstream name server fails", { upstream: upstream.endpoint, why });
  }

  #markAnswering(upstream: Upstream): void {
    upstream.penaltyUntilMs = 0;
    if (!upstream.failing) return;
    upstream.failing = false;
    this.#log.info("an upstream name server answers again", { upstream: upstream.endpoint });
  }

  async #try(upstream: Upstream, query: Query, signal: AbortSignal): Promise<Answer> {
    for (;;) {
      const { plain } = upstream;
      const message = this.#message(query, plain);
      const accepts: Accepts = (reply) => isAnswer(reply, message, query.end);
      let reply = await exchangeUdp(upstream.endpoint, message, accepts, signal);
      if ((uint16(reply, 2) & flag.truncated) !== 0)
        reply = await exchangeTcp(upstream.endpoint, message, accepts, signal);
      const bare = uint16(reply, 4) === 0;
      const reading = bare ? undefined : readAnswer(reply, this.#options.cache);
      if (!bare && reading === undefined) throw new Error("its answer is malformed");
      const code = reading?.rcode ?? uint16(reply, 2) & rcodeMask;
      if (reading !== undefined && (code === rcode.NOERROR || code === rcode.NXDOMAIN)) return reading.answer;
      // RFC 6891 §7: a server without EDNS answers FORMERR or NOTIMP; it is asked again without OPT.
      if (plain || reading?.edns === true || (code !== rcode.FORMERR && code !== rcode.NOTIMP))
        throw new Error(`it answered ${rcodeName.get(code) ?? code}`);
      upstream.plain = true;
    }
  }

  /** The question as it is sent upstream: with an unpredictable id, and EDNS of our own. */
  #message({ bytes, end, flags, edns }: Query, plain: boolean): Buffer {
    const message = Buffer.alloc(plain ? end : end + optBytes);
    bytes.copy(message, headerBytes, headerBytes, end);
    putUint16(message, 0, this.#random.int(0x1_0000));
    putUint16(message, 2, flag.recursionDesired | (flags & flag.checkingDisabled));
    putUint16(message, 4, 1);
    if (plain) return message;
    putUint16(message, 10, 1);
    putUint16(message, end + 1, recordType.OPT);
    putUint16(message, end + 3, this.#options.maxUdpBytes);
    putUint16(message, end + 7, edns?.dnssecOk === true ? 0x8000 : 0);
    return message;
  }

  #from(answer: Answer, query: Query, limit: number, ageSeconds: number): Buffer {
    return replyFrom(answer, query, { limit, maxUdpBytes: this.#options.maxUdpBytes, ageSeconds });
  }

  #stale({ answer, ageSeconds }: CachedAnswer, query: Query, limit: number): Buffer {
    this.#metrics.count("stale");
    const infoCode = answer.rcode === rcode.NXDOMAIN ? staleNxdomain : staleAnswer;
    const error: ExtendedError = { infoCode, text: `no upstream answers; this is ${ageSeconds} s old` };
    return replyFrom(answer, query, {
      limit,
      maxUdpBytes: this.#options.maxUdpBytes,
      ageSeconds,
      staleTtlSeconds,
      error,
    });
  }

  #failed(query: Query, limit: number, error: ExtendedError): Buffer {
    return this.#empty(query, rcode.SERVFAIL, limit, error);
  }

  #empty(query: Query, code: number, limit: number, error?: ExtendedError): Buffer {
    this.#metrics.count("error");
    return new ReplyBuilder(query, code, 0, 0, limit, this.#options.maxUdpBytes, error).finish();
  }
}

function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return a.address === b.address && a.port === b.port;
}

/** Whether `reply` is a response to `message`, whose question ends at `end`. */
function isAnswer(reply: Buffer, message: Buffer, end: number): boolean {
  if (reply.length < headerBytes || uint16(reply, 0) !== uint16(message, 0)) return false;
  const flags = uint16(reply, 2);
  if ((flags & flag.response) === 0 || (flags & opcodeMask) !== 0) return false;
  // A server that could not read the question may leave it out.
  if (uint16(reply, 4) === 0) return (flags & rcodeMask) !== rcode.NOERROR && (flags & rcodeMask) !== rcode.NXDOMAIN;
  return uint16(reply, 4) === 1 && sameQuestion(message, end, reply);
}
