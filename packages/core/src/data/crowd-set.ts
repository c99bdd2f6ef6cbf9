/** Synthesized users after max cover, with their semantic clusters: row s holds items and their cluster. */
export interface CrowdSet {
  readonly fingerprint: string;
  readonly indptr: Uint32Array;
  /** dense item ids */
  readonly items: Uint32Array;
  /** semantic cluster of each item within its row, -1: none */
  readonly clusters: Int16Array;
  readonly labels: readonly (readonly string[])[];
  /** log user indexes of each clique's members (training users only). */
  readonly members: readonly Uint32Array[];
}
