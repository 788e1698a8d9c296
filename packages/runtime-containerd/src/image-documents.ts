/**
 * Readers of an image's documents, which come from strangers: the form is checked, optional fields may be missing, and a
 * document of another form is a `RUNTIME_IMAGE_INVALID` that says which field.
 */
import { posix } from "node:path";
import {
  emptyImageConfig,
  RuntimeError,
  type ImageConfig,
  type ImageHealthcheck,
  type Platform,
} from "@warren/runtime";
import { normalPlatform } from "./platform.ts";

/** Something in a registry, named by its content. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  /** Normal; undefined where nothing is said. */
  readonly platform?: Platform;
}

export interface Manifest {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** What an image says of itself, and the digests of its layers when they are unpacked. */
export interface ImageDescription {
  /** Undefined where it says nothing. */
  readonly platform: Platform | undefined;
  readonly diffIds: readonly string[];
  readonly config: ImageConfig;
}

export type ImageDocument =
  | { readonly kind: "index"; readonly mediaType: string; readonly entries: readonly Descriptor[] }
  | { readonly kind: "manifest"; readonly mediaType: string; readonly manifest: Manifest };

/** Larger documents are refused: registries take no manifest over this, and no image has such a configuration. */
export const documentBytes: number = 4 * 1024 * 1024;
/** The kernel's most layers of one overlay mount. */
const mostLayers = 500;
/** Ports of a range that an image exposes; the rest is not listed. */
const mostPorts = 1_000;

const indexTypes: readonly string[] = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
];
const manifestTypes: readonly string[] = [
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
];
/** What a registry is asked for. */
export const acceptedTypes: readonly string[] = [...indexTypes, ...manifestTypes];
const configTypes: readonly string[] = [
  "application/vnd.oci.image.config.v1+json",
  "application/vnd.docker.container.image.v1+json",
];
const layerType =
  /^application\/vnd\.(?:oci\.image\.layer\.v1\.tar(?:\+gzip|\+zstd)?|docker\.image\.rootfs\.diff\.tar(?:\.gzip|\.zstd)?)$/;
const digestGrammar = /^sha256:[0-9a-f]{64}$/;

type Fields = Readonly<Record<string, unknown>>;

/** A stranger's text in an error: one line, and short. */
export function shown(text: unknown): string {
  const plain = String(text).replaceAll(/[^\x20-\x7e]+/g, " ");
  return plain.length > 120 ? `${plain.slice(0, 119)}…` : plain;
}

export function imageInvalid(ref: string, why: string, cause?: unknown): RuntimeError {
  return new RuntimeError({ code: "RUNTIME_IMAGE_INVALID", ref }, `${ref}: ${why}`, { cause });
}

/** Reads what a tag or digest names. @param contentType what the registry called it, for one that says nothing itself */
export function parseDocument(ref: string, bytes: Uint8Array, contentType = ""): ImageDocument {
  const document = jsonObject(ref, bytes, "its manifest");
  const declared = optionalText(ref, document, "mediaType");
  const mediaType = declared ?? contentType.split(";")[0]?.trim() ?? "";
  if (document["schemaVersion"] === 1 || /docker\.distribution\.manifest\.v1\+/.test(mediaType))
    throw imageInvalid(
      ref,
      "it is stored in Docker's old form (schema 1), which nothing reads any more: push it again",
    );
  const hasEntries = Array.isArray(document["manifests"]);
  const hasLayers = document["config"] !== undefined || document["layers"] !== undefined;
  if (hasEntries && hasLayers) throw imageInvalid(ref, "its document is both an index and a manifest");
  if (hasEntries && !manifestTypes.includes(mediaType)) {
    const entries = (document["manifests"] as unknown[]).map((entry) =>
      descriptor(ref, entry, "an entry of its index"),
    );
    return { kind: "index", mediaType: indexTypes.includes(mediaType) ? mediaType : (indexTypes[0] ?? ""), entries };
  }
  if (!hasLayers || indexTypes.includes(mediaType))
    throw imageInvalid(ref, `it is neither an image nor an index of images${mediaType && ` but ${shown(mediaType)}`}`);
  const manifest = parseManifest(ref, document);
  return {
    kind: "manifest",
    mediaType: manifestTypes.includes(mediaType) ? mediaType : (manifestTypes[0] ?? ""),
    manifest,
  };
}

function parseManifest(ref: string, document: Fields): Manifest {
  const config = descriptor(ref, document["config"], "its configuration");
  const artifact = optionalText(ref, document, "artifactType") ?? config.mediaType;
  if (!configTypes.includes(config.mediaType) || !configTypes.includes(artifact))
    throw imageInvalid(ref, `it is an artifact (${shown(artifact)}) and no image of a container`);
  if (config.size > documentBytes) throw imageInvalid(ref, `its configuration is over ${documentBytes} bytes`);
  const layers = list(ref, document["layers"] ?? [], "layers").map((layer) => descriptor(ref, layer, "a layer"));
  if (layers.length === 0) throw imageInvalid(ref, "it has no layers, so there is nothing in it that could run");
  if (layers.length > mostLayers) throw imageInvalid(ref, `it has ${layers.length} layers; Linux mounts ${mostLayers}`);
  for (const { mediaType } of layers)
    if (!layerType.test(mediaType)) throw imageInvalid(ref, `a layer is ${shown(mediaType)}, which can't be unpacked`);
  return { config, layers };
}

/** Reads the configuration that a manifest names. */
export function parseConfig(ref: string, bytes: Uint8Array): ImageDescription {
  const document = jsonObject(ref, bytes, "its configuration");
  const rootfs = fields(ref, document["rootfs"] ?? {}, "rootfs");
  const diffIds = texts(ref, rootfs["diff_ids"] ?? [], "rootfs.diff_ids");
  for (const id of diffIds) if (!digestGrammar.test(id)) throw imageInvalid(ref, `"${shown(id)}" is no layer's digest`);
  return {
    platform: platform(ref, document),
    diffIds,
    config: imageConfig(ref, fields(ref, document["config"] ?? {}, "config")),
  };
}

function imageConfig(ref: string, config: Fields): ImageConfig {
  const strings = (name: string): readonly string[] => texts(ref, config[name] ?? [], name);
  const text = (name: string): string | undefined => optionalText(ref, config, name);
  const shell = strings("Shell");
  const known = { ...emptyImageConfig, ...(shell.length > 0 && { shell }) };
  const labels = Object.entries(fields(ref, config["Labels"] ?? {}, "Labels"));
  return {
    ...known,
    entrypoint: strings("Entrypoint"),
    cmd: strings("Cmd"),
    env: strings("Env"),
    workingDir: text("WorkingDir"),
    user: text("User"),
    stopSignal: text("StopSignal"),
    exposedPorts: Object.keys(fields(ref, config["ExposedPorts"] ?? {}, "ExposedPorts"))
      .flatMap(ports)
      .slice(0, mostPorts),
    volumes: Object.keys(fields(ref, config["Volumes"] ?? {}, "Volumes")).flatMap(volume),
    labels: Object.fromEntries(labels.map(([key, value]) => [key, string(ref, value, "a label")])),
    healthcheck: healthcheck(ref, config["Healthcheck"] ?? {}, known.shell),
    onBuild: strings("OnBuild"),
  };
}

function healthcheck(ref: string, value: unknown, shell: readonly string[]): ImageHealthcheck | undefined {
  const check = fields(ref, value, "Healthcheck");
  const [kind, ...words] = texts(ref, check["Test"] ?? [], "Healthcheck.Test");
  if (kind === undefined) return undefined;
  if (kind === "NONE") return { kind: "none" };
  if (kind !== "CMD" && kind !== "CMD-SHELL") throw imageInvalid(ref, `Healthcheck.Test begins with "${shown(kind)}"`);
  const ms = (name: string, as: string): object => {
    const nanos = count(ref, check[name] ?? 0, `Healthcheck.${name}`);
    return nanos === 0 ? {} : { [as]: Math.ceil(nanos / 1e6) };
  };
  const retries = count(ref, check["Retries"] ?? 0, "Healthcheck.Retries");
  return {
    kind: "command",
    command: kind === "CMD" ? words : [...shell, words.join(" ")],
    ...ms("Interval", "intervalMs"),
    ...ms("Timeout", "timeoutMs"),
    ...ms("StartPeriod", "startPeriodMs"),
    ...ms("StartInterval", "startIntervalMs"),
    ...(retries > 0 && { retries }),
  };
}

/** `80`, `80/tcp`, `8000-8010/udp`. */
function ports(text: string): ImageConfig["exposedPorts"][number][] {
  const [, first, last = first, protocol = "tcp"] = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(text) ?? [];
  const [from, to] = [Number(first), Math.min(Number(last), 65_535)];
  if (!(from >= 1 && from <= to)) return [];
  const length = Math.min(to - from + 1, mostPorts);
  const name = protocol.toLowerCase() as "tcp" | "udp" | "sctp";
  return Array.from({ length }, (_, i) => ({ port: from + i, protocol: name }));
}

/** Below the root, whatever was written; the root itself is no volume. */
function volume(path: string): string[] {
  const absolute = posix.resolve("/", path);
  return absolute === "/" ? [] : [absolute];
}

function platform(ref: string, document: Fields): Platform | undefined {
  const [os, architecture] = [optionalText(ref, document, "os"), optionalText(ref, document, "architecture")];
  if (os === undefined || architecture === undefined) return undefined;
  const variant = optionalText(ref, document, "variant");
  return normalPlatform({ os, architecture, ...(variant !== undefined && { variant }) });
}

function descriptor(ref: string, value: unknown, what: string): Descriptor {
  const given = fields(ref, value, what);
  const { digest, size } = given;
  if (typeof digest !== "string" || !digestGrammar.test(digest))
    throw imageInvalid(ref, `${what} has no digest that can be checked (sha256)`);
  if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0)
    throw imageInvalid(ref, `${what} has no size that is a number of bytes`);
  const of = platform(ref, fields(ref, given["platform"] ?? {}, "platform"));
  return { mediaType: optionalText(ref, given, "mediaType") ?? "", digest, size, ...(of && { platform: of }) };
}

function jsonObject(ref: string, bytes: Uint8Array, what: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw imageInvalid(ref, `${what} is no JSON`, error);
  }
  return fields(ref, value, what);
}

function fields(ref: string, value: unknown, what: string): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  throw imageInvalid(ref, `${what} is not an object`);
}

function list(ref: string, value: unknown, what: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw imageInvalid(ref, `${what} is not a list`);
}

function texts(ref: string, value: unknown, what: string): readonly string[] {
  return list(ref, value, what).map((item) => string(ref, item, what));
}

function string(ref: string, value: unknown, what: string): string {
  // A NUL can't be passed to a program.
  if (typeof value === "string" && !value.includes("\0")) return value;
  throw imageInvalid(ref, `${what} holds what is no text`);
}

function count(ref: string, value: unknown, what: string): number {
  if (typeof value === "number" && Number.isFinite(value) && value >= 0) return value;
  throw imageInvalid(ref, `${what} is no number`);
}

/** Undefined where it is not set, which registries also write as `null` or an empty text. */
function optionalText(ref: string, of: Fields, name: string): string | undefined {
  const value = of[name] ?? "";
  return string(ref, value, name) || undefined;
}
