/**
 * What others need to test against us.
 *
 * - `resolver-contract.ts` what every `Resolver` must do, as cases for any test runner
 */
export { resolverContract, type ResolverUnderTest } from "./resolver-contract.ts";
