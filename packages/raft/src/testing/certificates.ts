/** Certificates for members in tests: an authority and a key a member, made by the program `openssl`. */
import { execFile } from "node:child_process";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

import type { TlsFiles } from "../transport/index.ts";

const run = promisify(execFile);
const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"];

/** An authority whose files lie in `directory`. */
export async function makeAuthority(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  await run("openssl", ["req", "-x509", ...key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority"], {
    cwd: directory,
  });
}

/**
 * A certificate signed by the authority in `directory`, in files called `name`. That is its one name, unless others are
 * given (`IP:127.0.0.1`, `DNS:other`).
 */
export async function makeCertificate(directory: string, name: string, others: readonly string[] = []): Promise<void> {
  const files = ["-keyout", `${name}.key`, "-out", `${name}.pem`];
  const names = ["-subj", `/CN=${name}`, "-addext", `subjectAltName=${[`DNS:${name}`, ...others].join(",")}`];
  const signer = ["-CA", "ca.pem", "-CAkey", "ca.key"];
  await run("openssl", ["req", "-x509", ...key, ...files, ...names, ...signer], { cwd: directory });
}

/** What was made, for a transport. */
export async function readCertificate(directory: string, name: string): Promise<TlsFiles> {
  const [ca, cert, own] = await Promise.all(
    ["ca.pem", `${name}.pem`, `${name}.key`].map((file) => readFile(join(directory, file))),
  );
  return { ca, cert, key: own } as TlsFiles;
}
