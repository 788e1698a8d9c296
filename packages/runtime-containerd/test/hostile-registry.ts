import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { digestOf } from "../src/registry.ts";

export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

const ociType = "application/vnd.oci.image";
export const types = {
  index: `${ociType}.index.v1+json`,
  manifest: `${ociType}.manifest.v1+json`,
  config: `${ociType}.config.v1+json`,
  layer: `${ociType}.layer.v1.tar+gzip`,
} as const;

/** A registry on loopback that answers as it is told, and remembers what it was asked and how much it sent. */
export class HostileRegistry implements AsyncDisposable {
  readonly host: string;
  readonly asked: { readonly path: string; readonly authorization: string | undefined }[] = [];
  /** Longest-prefix routes. */
  readonly #answers = new Map<string, Answer>();
  readonly #server: Server;
  sentBytes = 0;

  static async start(): Promise<HostileRegistry> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    return new HostileRegistry(server);
  }

  private constructor(server: Server) {
    this.#server = server;
    this.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on("request", (request, response) => {
      const path = request.url ?? "";
      this.asked.push({ path, authorization: request.headers.authorization });
      const routes = [...this.#answers].filter(([prefix]) => path.startsWith(prefix));
      const [, answer] = routes.sort(([a], [b]) => b.length - a.length)[0] ?? [];
      response.on("error", () => undefined);
      if (answer === undefined) response.writeHead(404).end();
      else answer(request, response);
    });
  }

  /** What is asked for below a path, from now on. */
  on(prefix: string, answer: Answer | string | Uint8Array): void {
    const send: Answer = (_, response) => void response.end(answer);
    this.#answers.set(prefix, typeof answer === "function" ? answer : send);
  }

  forget(): void {
    this.#answers.clear();
    this.asked.length = 0;
    this.sentBytes = 0;
  }

  /** Serves documents by tag `1` and by digest; gives the reference. */
  serve(image: { readonly root: Uint8Array; readonly blobs: readonly Uint8Array[] }): string {
    this.on("/v2/x/manifests/1", image.root);
    for (const bytes of [image.root, ...image.blobs])
      for (const kind of ["manifests", "blobs"]) this.on(`/v2/x/${kind}/${digestOf(bytes)}`, bytes);
    return `${this.host}/x:1`;
  }

  /** Sends `chunk` for ever, as fast as it is read. */
  endless(chunk: Uint8Array, headers: Record<string, string> = {}, status = 200): Answer {
    return (_, response) => {
      response.writeHead(status, headers);
      const more = (): void => {
        while (!response.destroyed && response.write(chunk)) this.sentBytes += chunk.length;
        this.sentBytes += chunk.length;
      };
      response.on("drain", more);
      more();
    };
  }

  /** Sends `bytes` and then nothing, and never ends. */
  stalled(bytes: string | Uint8Array, status = 200): Answer {
    return (_, response) => {
      response.writeHead(status);
      response.write(bytes);
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}

export interface ImageParts {
  readonly config: unknown;
  readonly manifest: (config: Uint8Array) => unknown;
  /** Undefined for an image without an index. */
  readonly index?: (manifest: Uint8Array) => unknown;
}

export function named(bytes: Uint8Array, mediaType: string): { mediaType: string; digest: string; size: number } {
  return { mediaType, digest: digestOf(bytes), size: bytes.length };
}

const layerBytes = Buffer.from("layer");

/** All of a usual image's fields. */
export const usual = {
  config: {
    os: "linux",
    architecture: "amd64",
    variant: "v1",
    rootfs: { type: "layers", diff_ids: [digestOf("unpacked")] },
    config: {
      Entrypoint: ["/app"],
      Cmd: ["serve"],
      Env: ["A=1"],
      WorkingDir: "/srv",
      User: "web",
      StopSignal: "SIGRTMIN+3",
      ExposedPorts: { "80/tcp": {}, "53/udp": {}, "8000-8002": {} },
      Volumes: { "/data": {}, logs: {} },
      Labels: { a: "b" },
      Shell: ["/bin/ash", "-c"],
      OnBuild: ["RUN x"],
      Healthcheck: {
        Test: ["CMD-SHELL", "test -d /x || exit 1"],
        Interval: 5e9,
        Timeout: 1.5e9,
        StartPeriod: 2e9,
        StartInterval: 1e9,
        Retries: 4,
      },
    },
  },
  manifest: (config: Uint8Array) => ({
    schemaVersion: 2,
    mediaType: types.manifest,
    config: named(config, types.config),
    layers: [named(layerBytes, types.layer)],
    annotations: { a: "b" },
  }),
  index: (manifest: Uint8Array) => ({
    schemaVersion: 2,
    mediaType: types.index,
    manifests: [
      {
        ...named(manifest, types.manifest),
        platform: { os: "linux", architecture: "amd64", variant: "v1", "os.features": ["x"] },
      },
    ],
  }),
};

const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value) ?? "");

/** The documents' bytes, each naming the one below by its digest. */
export function build(parts: ImageParts): { readonly root: Uint8Array; readonly blobs: readonly Uint8Array[] } {
  const config = parts.config instanceof Uint8Array ? parts.config : json(parts.config);
  const manifest = json(parts.manifest(config));
  return parts.index === undefined
    ? { root: manifest, blobs: [config] }
    : { root: json(parts.index(manifest)), blobs: [config, manifest] };
}
