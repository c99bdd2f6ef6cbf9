/** What `export` writes. */
export const EXPORT_KINDS = ["recommendations", "interests", "items", "vectors", "metrics"] as const;
export type ExportKind = (typeof EXPORT_KINDS)[number];
