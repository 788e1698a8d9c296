import { WarrenError } from "@warren/std";

export type AttachmentFailure =
  /** A request or an option is invalid; nothing was changed. */
  | { readonly code: "ATTACHMENT_INVALID"; readonly field: string }
  /** Another attached task has the address. */
  | { readonly code: "ATTACHMENT_ADDRESS_TAKEN"; readonly address: string; readonly taskId: string }
  /** The kernel or the firewall refused a step. A new attachment was removed again; one that was complete before stays. */
  | { readonly code: "ATTACHMENT_FAILED"; readonly taskId: string };

export class AttachmentError extends WarrenError<AttachmentFailure> {}
