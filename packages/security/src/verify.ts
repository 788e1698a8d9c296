/**
 * Whether a chain of certificates is valid in this cluster, checked step by step. OpenSSL reports one error, which hides
 * the others: a certificate that is expired and was signed by a foreign authority is "expired" to it.
 *
 * C1 Every link is a signature that was checked, and the last is by a root of the cluster.
 * C2 Every issuer is an authority; the leaf is not.
 * C3 Every certificate of the path is within its period of validity.
 * C4 The leaf's names agree, and its cluster is this one.
 * C5 The leaf's key usage allows the peer's role in the connection, and its key is on P-256.
 *
 * C1 is checked first: what an unknown authority signed is not repeated in messages.
 */
import type { X509Certificate } from "node:crypto";
import { certificateFacts, type CertificateFacts } from "./certificate.ts";

/** What the peer is in the connection. A worker's certificate is not valid for a server, so that a stolen one can't pose as a manager. */
export type CertificatePurpose = "client" | "server";

export type RefusalReason =
  | "NO_CERTIFICATE"
  | "ISSUER_UNKNOWN"
  | "CERT_NOT_YET_VALID"
  | "CERT_HAS_EXPIRED"
  | "NAMES_INVALID"
  | "CLUSTER_MISMATCH"
  | "PURPOSE_INVALID"
  | "KEY_INVALID";

export interface CertificateRefusal {
  readonly refused: RefusalReason;
  /** One line: whose certificate, what is wrong, since when. */
  readonly message: string;
}

export interface VerifyOptions {
  /** Every root that the cluster accepts now. */
  readonly roots: readonly X509Certificate[];
  readonly clusterId: string;
  readonly purpose: CertificatePurpose;
  /** Wall time, ms since 1970. */
  readonly nowMs: number;
}

const usages: Readonly<Record<CertificatePurpose, string>> = {
  client: "1.3.6.1.5.5.7.3.2",
  server: "1.3.6.1.5.5.7.3.1",
};

/** Longest path from a leaf to a root. A rotation needs three: leaf, new root signed by the old one, old root. */
const longestPath = 5;

/**
 * @param chain the leaf first, then the peer's other certificates, in any order
 */
export function verifyChain(
  chain: readonly X509Certificate[],
  { roots, clusterId, purpose, nowMs }: VerifyOptions,
): CertificateFacts | CertificateRefusal {
  const [leaf, ...others] = chain;
  if (leaf === undefined) return { refused: "NO_CERTIFICATE", message: "no certificate was shown" };
  const path = pathToRoot(leaf, others, roots, longestPath);
  const facts = certificateFacts(leaf);
  if (path === undefined || leaf.ca) {
    const claim = facts === undefined ? "the certificate" : `the certificate that names ${facts.name}`;
    return { refused: "ISSUER_UNKNOWN", message: `${claim}: ISSUER_UNKNOWN: no authority of this cluster signed it` };
  }
  const refuse = (refused: RefusalReason, why: string): CertificateRefusal => ({
    refused,
    message: `certificate of ${facts?.name ?? JSON.stringify(leaf.subject)}: ${refused}: ${why}`,
  });
  if (facts === undefined) return refuse("NAMES_INVALID", "subject and alternative names do not name one node or user");
  if (facts.clusterId !== clusterId) return refuse("CLUSTER_MISMATCH", `it is of cluster ${facts.clusterId}`);
  for (const each of path) {
    const whose = each === leaf ? "it" : "its authority";
    if (nowMs < each.validFromDate.getTime())
      return refuse("CERT_NOT_YET_VALID", `${whose} is valid from ${each.validFromDate.toISOString()}`);
    if (nowMs > each.validToDate.getTime())
      return refuse("CERT_HAS_EXPIRED", `${whose} was valid until ${each.validToDate.toISOString()}`);
  }
  if (!(leaf.keyUsage ?? []).includes(usages[purpose]))
    return refuse("PURPOSE_INVALID", `a ${facts.role}'s certificate does not serve as a ${purpose}'s`);
  if (leaf.publicKey.asymmetricKeyDetails?.namedCurve !== "prime256v1")
    return refuse("KEY_INVALID", "its key is not on P-256");
  return facts;
}

/** The certificates from `leaf` to a root, both included; undefined if there is no such path. */
function pathToRoot(
  leaf: X509Certificate,
  others: readonly X509Certificate[],
  roots: readonly X509Certificate[],
  most: number,
): readonly X509Certificate[] | undefined {
  for (const root of roots) if (signed(root, leaf)) return [leaf, root];
  if (most <= 2) return undefined;
  for (const other of others) {
    if (!signed(other, leaf)) continue;
    const rest = others.filter((each) => each !== other);
    const path = pathToRoot(other, rest, roots, most - 1);
    if (path !== undefined) return [leaf, ...path];
  }
  return undefined;
}

function signed(issuer: X509Certificate, subject: X509Certificate): boolean {
  return issuer.ca && subject.checkIssued(issuer) && subject.verify(issuer.publicKey);
}
