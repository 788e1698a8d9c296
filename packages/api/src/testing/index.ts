/**
 * For tests of packages that handle the API's messages.
 *
 * - `filled.ts` messages with every field set, by reflection, so that new fields are included
 */
export { filledMessages } from "./filled.ts";
