import { RuntimeError } from "./errors.ts";

/** An image's name in parts, with Docker's defaults filled in. */
export interface Reference {
  /** Host and port that are asked. */
  readonly registry: string;
  readonly repository: string;
  /** A tag or a digest: what the manifest is asked by. */
  readonly selector: string;
  /** The whole in one form, under which the image is kept. */
  readonly full: string;
}

const grammar =
  /^(?<name>[a-zA-Z0-9.:/_[\]-]+?)(?::(?<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?<digest>sha256:[0-9a-f]{64}))?$/;
const hostGrammar = /^(?:[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)*|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/;
const repositoryGrammar = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;

/** @throws RuntimeError `RUNTIME_REFERENCE_INVALID` */
export function parseReference(ref: string): Reference {
  const parts = grammar.exec(ref)?.groups;
  const name = parts?.["name"] ?? "";
  const slash = name.indexOf("/");
  const head = slash < 0 ? "" : name.slice(0, slash);
  const hasHost = head === "localhost" || /[.:[]/.test(head);
  const registry = hasHost ? head : "docker.io";
  const path = hasHost ? name.slice(slash + 1) : name;
  const repository = registry === "docker.io" && !path.includes("/") ? `library/${path}` : path;
  if (!hostGrammar.test(registry) || !repositoryGrammar.test(repository)) {
    throw new RuntimeError(
      { code: "RUNTIME_REFERENCE_INVALID", ref },
      `"${ref}" is not an image reference: write [HOST/]NAME[:TAG][@sha256:DIGEST], NAME in lower case`,
    );
  }
  const digest = parts?.["digest"];
  const tag = parts?.["tag"] ?? (digest === undefined ? "latest" : undefined);
  const full = `${registry}/${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
  return { registry, repository, selector: digest ?? tag ?? "latest", full };
}
