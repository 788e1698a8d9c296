/** The logins that Docker has on this machine: in its file, or behind a credential helper. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import type { RegistryAuth } from "@warren/api";
import { CommandFailed } from "./warren-command.ts";

/** Where Docker has a login. */
export type DockerLogin =
  | { readonly kind: "auth"; readonly registry: string; readonly auth: RegistryAuth }
  /** `docker-credential-NAME` has it, under `server`. */
  | { readonly kind: "helper"; readonly registry: string; readonly helper: string; readonly server: string }
  | { readonly kind: "unusable"; readonly registry: string; readonly why: string };

interface DockerConfig {
  readonly auths?: Readonly<Record<string, { readonly auth?: string; readonly identitytoken?: string }>>;
  readonly credsStore?: string;
  readonly credHelpers?: Readonly<Record<string, string>>;
}

/** `https://index.docker.io/v1/` is `docker.io`. */
function registryOf(server: string): string {
  const host = server.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
  return ["index.docker.io", "registry-1.docker.io"].includes(host) ? "docker.io" : host;
}

/** What a `config.json` of Docker's has. Pure. @throws CommandFailed where it is none */
export function dockerLogins(text: string): readonly DockerLogin[] {
  let config: DockerConfig;
  try {
    config = JSON.parse(text) as DockerConfig;
  } catch (cause) {
    throw new CommandFailed("it is not JSON", { cause });
  }
  const { auths = {}, credsStore, credHelpers = {} } = config;
  const found = new Map<string, DockerLogin>();
  for (const [server, { auth = "", identitytoken = "" }] of Object.entries(auths)) {
    const registry = registryOf(server);
    const [, username, password] = /^([^:]+):([\s\S]+)$/.exec(Buffer.from(auth, "base64").toString()) ?? [];
    if (username !== undefined && password !== undefined)
      found.set(registry, { kind: "auth", registry, auth: { username, password } });
    else if (identitytoken !== "")
      found.set(registry, { kind: "unusable", registry, why: "Docker has an identity token for it, not a password" });
    else if (credsStore !== undefined) found.set(registry, { kind: "helper", registry, helper: credsStore, server });
  }
  for (const [server, helper] of Object.entries(credHelpers)) {
    const registry = registryOf(server);
    found.set(registry, { kind: "helper", registry, helper, server });
  }
  return [...found.values()];
}

/** @throws CommandFailed where there is no such file, or it can't be read */
export async function readDockerLogins(): Promise<{
  readonly path: string;
  readonly logins: readonly DockerLogin[];
}> {
  const path = join(process.env["DOCKER_CONFIG"] ?? join(homedir(), ".docker"), "config.json");
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === "ENOENT" ? "there is no such file" : "it can't be read";
    throw new CommandFailed(`${path}: ${why}: log in with docker first, or give a registry and a user name`);
  }
  try {
    return { path, logins: dockerLogins(text) };
  } catch (error) {
    throw error instanceof CommandFailed ? new CommandFailed(`${path}: ${error.message}`) : error;
  }
}

/** Asks the helper where one has it. @throws CommandFailed where there is no password to be had */
export async function authOf(login: DockerLogin): Promise<RegistryAuth> {
  if (login.kind === "auth") return login.auth;
  if (login.kind === "unusable") throw new CommandFailed(login.why);
  const program = `docker-credential-${login.helper}`;
  const answer = await new Promise<string>((resolve, reject) => {
    const child = execFile(program, ["get"], (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const said = `${stdout}${stderr}`.trim().split("\n")[0] ?? "";
      const isMissing = (error as NodeJS.ErrnoException).code === "ENOENT";
      reject(new CommandFailed(isMissing ? `${program} is not installed` : `${program}: ${said || "it failed"}`));
    });
    // It may end without having read.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(login.server);
  });
  const { Username: username, Secret: password } = parsedAnswer(answer, program);
  if (username === "<token>" || !username || !password)
    throw new CommandFailed("Docker has an identity token for it, not a password");
  return { username, password };
}

function parsedAnswer(text: string, program: string): { readonly Username?: string; readonly Secret?: string } {
  try {
    return JSON.parse(text) as { Username?: string; Secret?: string };
  } catch {
    throw new CommandFailed(`${program} answered with what is not JSON`);
  }
}
