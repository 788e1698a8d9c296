/** Limits of a spec. An error names the exceeded one. */
export const limits = {
  /** A whole spec as protobuf (256 KiB): it travels in every transaction that touches its object. */
  specBytes: 262_144,
  nameCharacters: 63,
  replicas: 10_000,
  labels: 256,
  /** Key and value together; containerd's. */
  labelBytes: 4_096,
  environment: 1_000,
  words: 1_000,
  /** One argument or one `NAME=value`; the kernel's 128 KiB. */
  wordBytes: 131_072,
  mounts: 100,
  devices: 64,
  ulimits: 32,
  sysctls: 100,
  capabilities: 64,
  groups: 32,
  extraHosts: 256,
  /** resolv.conf's. */
  dnsServers: 3,
  dnsSearch: 32,
  dnsOptions: 32,
  ports: 64,
  networks: 16,
  aliases: 16,
  constraints: 64,
  constraintCharacters: 512,
  pathCharacters: 4_095,
  /** Longest of any delay, interval or grace but a restart window, ms: a day. */
  delayMs: 86_400_000,
  /** 30 days. */
  windowMs: 2_592_000_000,
  taskHistory: 100,
  /** Below this nothing starts. */
  leastMemoryBytes: 524_288,
  /** One millisecond in each tenth of a second, the kernel's least. */
  leastCpuNanos: 10_000_000,
  mostCpuNanos: 1_000_000_000_000,
  mostMemoryBytes: 1_125_899_906_842_624,
  /** The kernel's largest process id. */
  pids: 4_194_304,
  /** What the runtime sets where nothing is asked for (ADR 0062). */
  defaultPids: 4_096,
  credentialBytes: 65_536,
} as const;
