import {
  Client,
  Metadata,
  credentials,
  status,
  type ClientDuplexStream,
  type ClientUnaryCall,
  type ServiceError,
} from "@grpc/grpc-js";
import { RuntimeError } from "@warren/runtime";

interface Method<Q, S> {
  readonly path: string;
  readonly requestSerialize: (value: Q) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => S;
}

interface CallOptions {
  /** What the call makes belongs to this lease, so that garbage collection leaves it. */
  readonly lease?: string;
  readonly signal?: AbortSignal | undefined;
  /** Waits for a containerd that is away, instead of failing. */
  readonly waitForReady?: boolean;
}

/** containerd's largest message; its default for both ways. */
const messageBytes = 16 * 1024 * 1024;

/** One channel to containerd's socket, in one namespace. Errors come out as RuntimeError. */
export class Connection {
  readonly #client: Client;
  /** Calls under way; `close` ends them. */
  readonly #calls = new Set<{ cancel(): void }>();
  readonly #namespace: string;

  #closed = false;

  constructor(address: string, namespace: string) {
    this.#client = new Client(`unix:${address}`, credentials.createInsecure(), {
      "grpc.max_receive_message_length": messageBytes,
      "grpc.max_send_message_length": messageBytes,
      // A containerd that was restarted is found again at once.
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.max_reconnect_backoff_ms": 1_000,
      "grpc.default_authority": "localhost",
    });
    this.#namespace = namespace;
  }

  unary<Q, S>(method: Method<Q, S>, request: Q, options: CallOptions = {}): Promise<S> {
    return new Promise((resolve, reject) => {
      options.signal?.throwIfAborted();
      this.#assertOpen();
      const cancel = (): void => call.cancel();
      const call: ClientUnaryCall = this.#client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        this.#metadata(options),
        (error, response) => {
          options.signal?.removeEventListener("abort", cancel);
          this.#calls.delete(call);
          if (options.signal?.aborted) reject(options.signal.reason as Error);
          else if (error !== null) reject(fromGrpc(error));
          else resolve(response as S);
        },
      );
      this.#calls.add(call);
      options.signal?.addEventListener("abort", cancel, { once: true });
    });
  }

  /** The answers, in order. Ends without an error when `signal` aborts. */
  async *serverStream<Q, S>(
    method: Method<Q, S>,
    request: Q,
    options: CallOptions = {},
  ): AsyncGenerator<S, void, void> {
    const { signal } = options;
    if (signal?.aborted) return;
    this.#assertOpen();
    const call = this.#client.makeServerStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      this.#metadata(options),
    );
    const cancel = (): void => call.cancel();
    this.#calls.add(call);
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      for await (const message of call) yield message as S;
    } catch (error) {
      if (!signal?.aborted) throw fromGrpc(error as ServiceError);
    } finally {
      signal?.removeEventListener("abort", cancel);
      this.#calls.delete(call);
      call.cancel();
    }
  }

  duplex<Q, S>(method: Method<Q, S>, options: CallOptions = {}): ClientDuplexStream<Q, S> {
    this.#assertOpen();
    const call = this.#client.makeBidiStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      this.#metadata(options),
    );
    this.#calls.add(call);
    call.once("close", () => this.#calls.delete(call));
    return call;
  }

  close(): void {
    this.#closed = true;
    for (const call of this.#calls) call.cancel();
    this.#client.close();
  }

  #assertOpen(): void {
    if (this.#closed) throw new RuntimeError({ code: "RUNTIME_UNAVAILABLE" }, "this runtime was closed");
  }

  #metadata({ lease, waitForReady = false }: CallOptions): Metadata {
    const metadata = new Metadata({ waitForReady });
    metadata.set("containerd-namespace", this.#namespace);
    if (lease !== undefined) metadata.set("containerd-lease", lease);
    return metadata;
  }
}

/** What containerd's status means here. */
export function fromGrpc(error: ServiceError): RuntimeError {
  const why = error.details || error.message;
  const cause = { cause: error };
  if (/no space left on device|disk quota exceeded/.test(why))
    return new RuntimeError({ code: "RUNTIME_DISK_FULL" }, `containerd's disk is full: ${why}`, cause);
  // What containerd and runc put before and after the reason; with it, the raw error has nothing to add.
  const [, created] = /OCI runtime create failed: (.*?)(?:: unknown)?$/s.exec(why) ?? [];
  if (created !== undefined && /executable file not found|no such file or directory|permission denied/.test(created)) {
    const field = fieldOf(created);
    const reason = created.replace(
      /^(?:(?:runc create failed|unable to start container process|error during container init): )+/,
      "",
    );
    return new RuntimeError({ code: "RUNTIME_SPEC_INVALID", field }, `${field} can't be used: ${reason}`);
  }
  switch (error.code) {
    case status.NOT_FOUND:
      return new RuntimeError({ code: "RUNTIME_NOT_FOUND", id: why }, `containerd: ${why}`, cause);
    case status.ALREADY_EXISTS:
      return new RuntimeError({ code: "RUNTIME_ALREADY_EXISTS", id: why }, `containerd: ${why}`, cause);
    case status.UNAVAILABLE:
    case status.CANCELLED:
      return new RuntimeError({ code: "RUNTIME_UNAVAILABLE" }, `containerd can't be asked: ${why}`, cause);
    default:
      return new RuntimeError({ code: "RUNTIME_FAILED", status: error.code }, `containerd: ${why}`, cause);
  }
}

/** Of a container's spec; runc has the same words for a mount, a directory, a kernel parameter and a program. */
function fieldOf(why: string): string {
  if (why.includes("error mounting")) return "mounts";
  if (why.includes("chdir to cwd")) return "workingDir";
  return why.includes("open /proc/sys/") ? "sysctls" : "command";
}

/** Resolves to undefined where `promise` fails with this code; other failures stay. */
export async function unless<T>(promise: Promise<T>, code: RuntimeError["code"]): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (RuntimeError.is(error, code)) return undefined;
    throw error;
  }
}
