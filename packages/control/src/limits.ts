/** How many objects a cluster may have. Each is told where it is passed. */
export const limits = {
  services: 10_000,
  networks: 1_000,
  registries: 1_000,
  /** Objects of a page. */
  pageSize: 1_000,
  defaultPageSize: 100,
  /** A page ends after the object that passes this, bytes. */
  pageBytes: 2_097_152,
  /** Tasks whose logs one call reads at a time. */
  followedTasks: 500,
  /** Transactions that may wait for a reader of a stream before it is ended. */
  watchBatches: 5_000,
  /** Names, labels or references that one request may filter by. */
  filters: 100,
  /** Characters of a reference. */
  refCharacters: 255,
} as const;
