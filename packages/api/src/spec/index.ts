/**
 * Checks and defaults of specs: each gives the completed spec, or an ApiError that names every field that is wrong.
 *
 * - `service.ts`   checkServiceSpec; `task.ts`, `container.ts` its parts
 * - `objects.ts`   the smaller specs
 * - `limits.ts`    how much a spec may hold
 * - `fields.ts`    fields that several share; `image-reference.ts`, `capabilities.ts` single ones
 * - `violations.ts` zod's findings as paths of proto fields
 */
export { checkServiceSpec, publishedKey } from "./service.ts";
export { checkClusterSpec, checkNetworkSpec, checkNodeSpec, checkRegistryLogin } from "./objects.ts";
export { environmentNameFault } from "./container.ts";
export { limits } from "./limits.ts";
