/**
 * An authority for tests: `createTestAuthority` makes certificates of the form that `@warren/security` reads, and wrong
 * ones. The library that signs is loaded by its first use.
 */
export {
  createTestAuthority,
  type AuthorityOptions,
  type IssueOptions,
  type TestAuthority,
  type TestCredentials,
} from "./authority.ts";
