import { WarrenError } from "@warren/std";

/** Failures of a container runtime. Whether a later try may succeed depends on the code alone: `RuntimeError.retryable`. */
export type RuntimeFailure =
  | { readonly code: "RUNTIME_REFERENCE_INVALID"; readonly ref: string }
  | { readonly code: "RUNTIME_IMAGE_NOT_FOUND"; readonly ref: string }
  | { readonly code: "RUNTIME_IMAGE_INVALID"; readonly ref: string }
  | { readonly code: "RUNTIME_DIGEST_MISMATCH"; readonly expected: string; readonly actual: string }
  | {
      readonly code: "RUNTIME_PLATFORM_MISSING";
      readonly ref: string;
      readonly wanted: string;
      readonly offered: readonly string[];
    }
  | { readonly code: "RUNTIME_REGISTRY_UNREACHABLE"; readonly registry: string }
  | { readonly code: "RUNTIME_REGISTRY_UNAUTHORIZED"; readonly registry: string }
  | { readonly code: "RUNTIME_REGISTRY_REFUSED"; readonly registry: string; readonly status: number }
  | { readonly code: "RUNTIME_DISK_FULL" }
  | { readonly code: "RUNTIME_SPEC_INVALID"; readonly field: string }
  | { readonly code: "RUNTIME_ALREADY_EXISTS"; readonly id: string }
  | { readonly code: "RUNTIME_NOT_FOUND"; readonly id: string }
  | { readonly code: "RUNTIME_WRONG_STATE"; readonly id: string; readonly state: string }
  | { readonly code: "RUNTIME_PORT_CLOSED"; readonly id: string; readonly port: number }
  | { readonly code: "RUNTIME_FAILED"; readonly status: number }
  | { readonly code: "RUNTIME_UNAVAILABLE" };

/**
 * Whether the same call may succeed later without a change by the user.
 * A missing image or a wrong password may be corrected at the registry, so those are retried too, with back-off.
 */
const retryable: Readonly<Record<RuntimeFailure["code"], boolean>> = {
  RUNTIME_REFERENCE_INVALID: false,
  RUNTIME_IMAGE_NOT_FOUND: true,
  RUNTIME_IMAGE_INVALID: false,
  RUNTIME_DIGEST_MISMATCH: true,
  RUNTIME_PLATFORM_MISSING: true,
  RUNTIME_REGISTRY_UNREACHABLE: true,
  RUNTIME_REGISTRY_UNAUTHORIZED: true,
  RUNTIME_REGISTRY_REFUSED: true,
  RUNTIME_DISK_FULL: true,
  RUNTIME_SPEC_INVALID: false,
  RUNTIME_ALREADY_EXISTS: false,
  RUNTIME_NOT_FOUND: false,
  RUNTIME_WRONG_STATE: false,
  RUNTIME_PORT_CLOSED: true,
  RUNTIME_FAILED: true,
  RUNTIME_UNAVAILABLE: true,
};

/** Failures of a registry, or of its responses; a local image is used in spite of them. */
const fromRegistry: ReadonlySet<RuntimeFailure["code"]> = new Set([
  "RUNTIME_IMAGE_NOT_FOUND",
  "RUNTIME_IMAGE_INVALID",
  "RUNTIME_DIGEST_MISMATCH",
  "RUNTIME_PLATFORM_MISSING",
  "RUNTIME_REGISTRY_UNREACHABLE",
  "RUNTIME_REGISTRY_UNAUTHORIZED",
  "RUNTIME_REGISTRY_REFUSED",
]);

export class RuntimeError extends WarrenError<RuntimeFailure> {
  get retryable(): boolean {
    return retryable[this.failure.code];
  }

  /** Whether the registry failed or sent something invalid, as opposed to this machine. */
  get fromRegistry(): boolean {
    return fromRegistry.has(this.failure.code);
  }
}
