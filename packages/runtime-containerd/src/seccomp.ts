import { seccompArchitectures, seccompDefault, seccompRules } from "./docker-defaults.ts";

/** A rule of the seccomp profile, for the architectures and capabilities that it names; allowed unless it says else. */
export interface SeccompRule {
  readonly names: readonly string[];
  readonly action?: string;
  readonly errnoRet?: number;
  readonly args?: readonly {
    readonly index: number;
    readonly value: number;
    readonly valueTwo?: number;
    readonly op: string;
  }[];
  readonly arches?: readonly string[];
  readonly capabilities?: readonly string[];
  readonly notArches?: readonly string[];
  readonly notCapabilities?: readonly string[];
}

/** OCI's seccomp section, as far as it is used. */
export interface Seccomp {
  readonly defaultAction: string;
  readonly defaultErrnoRet: number;
  readonly architectures: readonly string[];
  readonly syscalls: readonly (Pick<SeccompRule, "names" | "errnoRet" | "args"> & { readonly action: string })[];
}

/** libseccomp's names of OCI's architectures. */
const names: Readonly<Record<string, string>> = {
  amd64: "SCMP_ARCH_X86_64",
  "386": "SCMP_ARCH_X86",
  arm64: "SCMP_ARCH_AARCH64",
  arm: "SCMP_ARCH_ARM",
  ppc64le: "SCMP_ARCH_PPC64LE",
  s390x: "SCMP_ARCH_S390X",
  riscv64: "SCMP_ARCH_RISCV64",
};

/** Docker's profile for a machine of this architecture and a container with these capabilities: what it may call. */
export function seccompProfile(architecture: string, capabilities: ReadonlySet<string>): Seccomp {
  const own = names[architecture];
  return {
    defaultAction: seccompDefault.action,
    defaultErrnoRet: seccompDefault.errnoRet,
    architectures: own === undefined ? [] : [own, ...(seccompArchitectures[own] ?? [])],
    syscalls: seccompRules
      .filter((rule) => applies(rule, architecture, capabilities))
      .map(({ names: calls, action = "SCMP_ACT_ALLOW", errnoRet, args }) => ({
        names: calls,
        action,
        ...(errnoRet !== undefined && { errnoRet }),
        ...(args !== undefined && { args }),
      })),
  };
}

function applies(rule: SeccompRule, architecture: string, capabilities: ReadonlySet<string>): boolean {
  const has = (capability: string): boolean => capabilities.has(capability);
  return (
    (rule.arches === undefined || rule.arches.includes(architecture)) &&
    !rule.notArches?.includes(architecture) &&
    (rule.capabilities ?? []).every(has) &&
    !(rule.notCapabilities ?? []).some(has)
  );
}
