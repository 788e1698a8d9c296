/** The manager's side of a node session. */
export {};
