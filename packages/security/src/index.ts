/**
 * Certificates of a cluster's nodes and users.
 *
 * - `certificate.ts` certificateFacts: what a certificate claims, as data
 * - `verify.ts`      verifyChain: whether an authority of the cluster signed the claim, and whether it is valid now
 * - `testing/`       an authority for tests, as `@warren/security/testing`
 */
export { certificateFacts, certificateRoles, type CertificateFacts, type CertificateRole } from "./certificate.ts";
export {
  verifyChain,
  type CertificatePurpose,
  type CertificateRefusal,
  type RefusalReason,
  type VerifyOptions,
} from "./verify.ts";
