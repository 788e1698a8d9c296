import { once } from "node:events";
import type { ServiceError } from "@grpc/grpc-js";
import { RuntimeError } from "@warren/runtime";
import { fromGrpc, unless, type Connection } from "./connection.ts";
import {
  ContentService,
  WriteAction,
  type WriteContentRequest,
  type WriteContentResponse,
} from "./generated/containerd/content.ts";
import { digestOf, mismatch } from "./registry.ts";
import type { Descriptor } from "./image-documents.ts";

/** Most bytes in one message to the content store. */
const chunkBytes = 1024 * 1024;

/** containerd's store of blobs by their digests. What is written belongs to the lease that is named. */
export class ContentStore {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * Writes what `source` gives from the offset that an earlier try reached; the store checks the digest. One that is
   * there is taken into the lease.
   *
   * @param origin a try goes on with what an earlier one of the same origin brought, and of no other
   */
  async write(
    { digest, size }: Pick<Descriptor, "digest" | "size">,
    origin: string,
    lease: string,
    labels: Readonly<Record<string, string>>,
    source: (offset: number) => Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const ref = `warren-${digestOf(origin).slice("sha256:".length, 19)}-${digest}`;
    const stream = new WriteStream(this.#connection, lease);
    try {
      const opened = await unless(
        stream.ask({ ...emptyWrite, action: WriteAction.STAT, ref, total: size, expected: digest }),
        "RUNTIME_ALREADY_EXISTS",
      );
      if (opened === undefined) return;
      let { offset } = opened;
      // All of it may be there and not committed: by a try that was killed, or another namespace of this containerd.
      const pieces = offset === size ? [] : source(offset);
      for await (const piece of pieces) {
        for (let at = 0; at < piece.length; at += chunkBytes) {
          const data = Buffer.from(piece.subarray(at, at + chunkBytes));
          ({ offset } = await stream.ask({ ...emptyWrite, action: WriteAction.WRITE, ref, offset, data }));
        }
      }
      if (offset !== size) throw mismatch(digest, `${offset} of ${size} bytes`);
      const commit = { ...emptyWrite, action: WriteAction.COMMIT, ref, offset, total: size, expected: digest, labels };
      await unless(stream.ask(commit), "RUNTIME_ALREADY_EXISTS");
    } catch (error) {
      // What containerd refuses at commit is not what was asked for: no later try may build on it.
      const wrong = RuntimeError.is(error, "RUNTIME_FAILED") && /unexpected commit digest/.test(error.message);
      if (!wrong && !RuntimeError.is(error, "RUNTIME_DIGEST_MISMATCH")) throw error;
      await stream.finished();
      await unless(this.#connection.unary(ContentService.abort, { ref }), "RUNTIME_NOT_FOUND");
      throw wrong ? mismatch(digest, /digest (sha256:[0-9a-f]+)/.exec(error.message)?.[1] ?? "something else") : error;
    } finally {
      stream.close();
    }
  }

  /** Labels are what garbage collection follows. */
  async label(digest: string, labels: Readonly<Record<string, string>>): Promise<void> {
    const updateMask = Object.keys(labels).map((key) => `labels.${key}`);
    await this.#connection.unary(ContentService.update, {
      info: { digest, size: 0, labels: { ...labels } },
      updateMask,
    });
  }

  async has(digest: string): Promise<boolean> {
    return (await unless(this.#connection.unary(ContentService.info, { digest }), "RUNTIME_NOT_FOUND")) !== undefined;
  }

  /** A document. @throws RuntimeError `RUNTIME_NOT_FOUND` */
  async read(digest: string): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for await (const { data } of this.#connection.serverStream(ContentService.read, { digest, offset: 0, size: 0 }))
      parts.push(data);
    return Buffer.concat(parts);
  }
}

const emptyWrite: WriteContentRequest = {
  action: WriteAction.STAT,
  ref: "",
  total: 0,
  expected: "",
  offset: 0,
  data: Buffer.alloc(0),
  labels: {},
};

/** `Content.Write`, a question and its answer at a time, so that memory holds one chunk. */
class WriteStream {
  readonly #call;
  readonly #failure: Promise<never>;

  constructor(connection: Connection, lease: string) {
    this.#call = connection.duplex(ContentService.write, { lease });
    this.#failure = once(this.#call, "error").then(([error]) => {
      throw fromGrpc(error as ServiceError);
    });
    this.#failure.catch(() => undefined); // each `ask` races it; one that fails between two is seen by the next
  }

  ask(request: WriteContentRequest): Promise<WriteContentResponse> {
    const answer = new Promise<WriteContentResponse>((resolve) => this.#call.once("data", resolve));
    this.#call.write(request);
    return Promise.race([answer, this.#failure]);
  }

  /** Resolves once containerd has put away what it wrote to: until then it may write there, also after it was removed. */
  async finished(): Promise<void> {
    const status = once(this.#call, "status");
    this.#call.resume();
    this.#call.end();
    await Promise.race([status, this.#failure]).catch(() => undefined); // a stream that failed is over, too
  }

  close(): void {
    this.#call.end();
    this.#call.cancel();
  }
}
