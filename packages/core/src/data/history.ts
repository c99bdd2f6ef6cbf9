/** What a model reads of a user: dense item ids, oldest first, and, where known, the semantic cluster of each. */
export interface History {
  readonly items: Uint32Array;
  /** [items.length], -1: none. Absent: the model serves without a semantic side. */
  readonly clusters?: Int16Array;
}
