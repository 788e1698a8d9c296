import { randomBytes, X509Certificate, type webcrypto } from "node:crypto";
import type * as X509 from "@peculiar/x509";
import { namesOf, type CertificateRole } from "../certificate.ts";

type KeyPair = webcrypto.CryptoKeyPair;

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const signing = { name: "ECDSA", hash: "SHA-256" } as const;

export interface AuthorityOptions {
  readonly clusterId: string;
  /** @default an hour ago */
  readonly notBefore?: Date;
  /** @default in ten years */
  readonly notAfter?: Date;
}

export interface IssueOptions {
  readonly name: string;
  readonly role: CertificateRole;
  /** @default an hour ago */
  readonly notBefore?: Date;
  /** @default in 90 days */
  readonly notAfter?: Date;
  /** The cluster that the certificate names. @default the authority's */
  readonly clusterId?: string;
  /** In place of the names that follow from name, cluster and role, as `DNS:…` and `URI:…`. */
  readonly names?: readonly string[];
  /** In place of those of the role. */
  readonly usages?: readonly ("clientAuth" | "serverAuth")[];
  /** @default false */
  readonly ca?: boolean;
  /** @default "P-256" */
  readonly curve?: "P-256" | "P-384";
}

/** PEM, as TLS takes it. */
export interface TestCredentials {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

export interface TestAuthority {
  readonly clusterId: string;
  readonly root: X509Certificate;
  /** A new key and its certificate. */
  issue(options: IssueOptions): Promise<TestCredentials>;
  /** The root of `other`, signed by this authority: what a rotation puts in the chain of its new leaves. */
  crossSign(other: TestAuthority): Promise<X509Certificate>;
}

/** Loaded at first use: it takes 150 ms and 18 MB. It throws unless reflect-metadata was loaded before it. */
async function library(): Promise<typeof X509> {
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  x509.cryptoProvider.set(crypto);
  return x509;
}

/** An authority with a key of its own, which lives in memory alone. */
export async function createTestAuthority(options: AuthorityOptions): Promise<TestAuthority> {
  const x509 = await library();
  const keys = await newKeys("P-256");
  const { clusterId } = options;
  const subject = [{ O: [clusterId] }, { CN: ["warren test authority"] }];
  const life = {
    notBefore: options.notBefore ?? new Date(Date.now() - hourMs),
    notAfter: options.notAfter ?? new Date(Date.now() + 3_650 * dayMs),
  };
  const authorityOf = async (publicKey: KeyPair["publicKey"]): Promise<X509Certificate> => {
    const made = await x509.X509CertificateGenerator.create({
      serialNumber: serial(),
      subject,
      issuer: subject,
      ...life,
      signingAlgorithm: signing,
      publicKey,
      signingKey: keys.privateKey,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(publicKey),
        await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return new X509Certificate(made.toString("pem"));
  };
  const root = await authorityOf(keys.publicKey);
  return {
    clusterId,
    root,
    async issue(leaf) {
      const made = await issue(x509, keys, subject, { clusterId, ...leaf });
      return { ...made, ca: root.toString() };
    },
    async crossSign(other) {
      const spki = other.root.publicKey.export({ type: "spki", format: "der" });
      return authorityOf(
        await crypto.subtle.importKey("spki", spki, { name: "ECDSA", namedCurve: "P-256" }, true, ["verify"]),
      );
    },
  };
}

async function issue(
  x509: typeof X509,
  authority: KeyPair,
  issuer: X509.JsonName,
  options: IssueOptions & { readonly clusterId: string },
): Promise<{ readonly cert: string; readonly key: string }> {
  const { name, role, clusterId } = options;
  const keys = await newKeys(options.curve ?? "P-256");
  const usages = options.usages ?? (role === "manager" ? ["clientAuth", "serverAuth"] : ["clientAuth"]);
  const made = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: [{ CN: [name] }, { O: [clusterId] }, { OU: [role] }],
    issuer,
    notBefore: options.notBefore ?? new Date(Date.now() - hourMs),
    notAfter: options.notAfter ?? new Date(Date.now() + 90 * dayMs),
    signingAlgorithm: signing,
    publicKey: keys.publicKey,
    signingKey: authority.privateKey,
    extensions: [
      new x509.BasicConstraintsExtension(options.ca ?? false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags[options.ca === true ? "keyCertSign" : "digitalSignature"], true),
      new x509.ExtendedKeyUsageExtension(usages.map((usage) => x509.ExtendedKeyUsage[usage])),
      new x509.SubjectAlternativeNameExtension((options.names ?? namesOf(name, clusterId, role)).map(generalName)),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(authority.publicKey),
    ],
  });
  const pkcs8 = Buffer.from(await crypto.subtle.exportKey("pkcs8", keys.privateKey));
  const key = `-----BEGIN PRIVATE KEY-----\n${pkcs8.toString("base64")}\n-----END PRIVATE KEY-----\n`;
  return { cert: `${made.toString("pem")}\n`, key };
}

function generalName(name: string): X509.JsonGeneralName {
  const at = name.indexOf(":");
  return { type: name.startsWith("URI:") ? "url" : "dns", value: name.slice(at + 1) };
}

function newKeys(namedCurve: "P-256" | "P-384"): Promise<KeyPair> {
  return crypto.subtle.generateKey({ name: "ECDSA", namedCurve }, true, ["sign", "verify"]);
}

/** 127 random bits, so that the number is positive in 16 bytes. */
function serial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] as number) & 0x7f) | 0x40;
  return bytes.toString("hex");
}
