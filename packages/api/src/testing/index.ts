/**
 * What others need to test against us.
 *
 * - `filled.ts` messages with every field set, by reflection: a field that is new is in them by itself
 */
export { filledMessages } from "./filled.ts";
