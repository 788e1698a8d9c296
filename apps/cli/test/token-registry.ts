/** A registry that gives to who shows a token, and the server that gives tokens to who can log in. */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { createPrivateKey, randomUUID, sign, X509Certificate, type KeyObject } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { RegistryAuth } from "@warren/runtime";
import { pushImage, type ImageContents } from "@warren/runtime-containerd/testing";
import { until } from "@warren/std/testing";

const run = promisify(execFile);
const service = "registry.test";
const issuer = "tokens.test";

export interface TokenRegistry extends AsyncDisposable {
  /** Pushes past the tokens; gives the name to pull by. */
  push(nameAndTag: string, contents?: ImageContents): Promise<string>;
  readonly host: string;
  /** How many tokens were given. */
  readonly given: () => number;
}

/** Debian's docker-registry twice on one folder, with tokens and, to push by, without. */
export async function startTokenRegistry(login: RegistryAuth): Promise<TokenRegistry> {
  const folder = await mkdtemp(join(tmpdir(), "warren-token-registry-"));
  const certificate = join(folder, "certificate.pem");
  const key = join(folder, "key.pem");
  const ask = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=t"];
  await run("openssl", [...ask, "-days", "2", "-keyout", key, "-out", certificate]);
  const signer = {
    key: createPrivateKey(await readFile(key)),
    certificate: new X509Certificate(await readFile(certificate)),
  };
  let given = 0;
  const tokens = createServer((request, response) => {
    const wanted = `Basic ${Buffer.from(`${login.username}:${login.password}`).toString("base64")}`;
    if (request.headers.authorization !== wanted) return response.writeHead(401).end();
    given += 1;
    const scope = new URL(request.url ?? "", "http://x").searchParams.get("scope") ?? "";
    return response.end(JSON.stringify({ token: token(signer, scope) }));
  });
  const realm = `http://127.0.0.1:${await port(tokens)}/token`;
  const auth = `auth:\n  token:\n    realm: ${realm}\n    service: ${service}\n    issuer: ${issuer}\n    rootcertbundle: ${certificate}\n`;
  const open = await serve(folder, "open", "");
  const locked = await serve(folder, "locked", auth);
  return {
    host: locked.host,
    given: () => given,
    push: async (nameAndTag, contents) => {
      const nobody: AsyncDisposable = { [Symbol.asyncDispose]: () => Promise.resolve() };
      const name = await pushImage({ host: open.host, auth: undefined, ...nobody }, nameAndTag, contents);
      return name.replace(open.host, locked.host);
    },
    async [Symbol.asyncDispose]() {
      for (const { child } of [open, locked]) {
        child.kill();
        if (child.exitCode === null) await once(child, "exit");
      }
      tokens.close();
      await rm(folder, { recursive: true });
    },
  };
}

async function serve(folder: string, name: string, auth: string): Promise<{ host: string; child: ChildProcess }> {
  const free = createServer();
  const at = await port(free);
  free.close();
  await once(free, "close");
  const config = join(folder, `${name}.yml`);
  const storage = `storage:\n  filesystem:\n    rootdirectory: ${folder}/data\n`;
  await writeFile(config, `version: 0.1\n${storage}http:\n  addr: 127.0.0.1:${at}\n${auth}`);
  const child = spawn("docker-registry", ["serve", config], { stdio: "ignore" });
  await until("the registry listens", async () => {
    const socket = connect(at, "127.0.0.1");
    const up = await once(socket, "connect").then(
      () => true,
      () => false,
    );
    socket.destroy();
    return up;
  });
  return { host: `127.0.0.1:${at}`, child };
}

async function port(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** A JSON web token for `repository:NAME:ACTIONS`, as the registry's documents have it. */
function token(signer: { key: KeyObject; certificate: X509Certificate }, scope: string): string {
  const [type, name, actions = ""] = scope.split(":");
  const now = Math.floor(Date.now() / 1_000);
  const x5c = [signer.certificate.raw.toString("base64")];
  const claims = {
    iss: issuer,
    aud: service,
    sub: "",
    iat: now - 5,
    nbf: now - 5,
    exp: now + 300,
    jti: randomUUID(),
    access: [{ type, name, actions: actions.split(",") }],
  };
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${encode({ typ: "JWT", alg: "ES256", x5c })}.${encode(claims)}`;
  const signature = sign("sha256", Buffer.from(text), { key: signer.key, dsaEncoding: "ieee-p1363" });
  return `${text}.${signature.toString("base64url")}`;
}
