/** Histories, newest event first, with the positions at which a prediction is made: a `SequenceBatch` has all of it. */
export interface PrefixAttentionProblem {
  /** B */
  readonly size: number;
  /** T */
  readonly length: number;
  /** [B] events of each user, at most T. */
  readonly lengths: Uint32Array;
  /** [B * T] cluster of each event, outside of 0 .. M - 1 = none. */
  readonly clusters: Int16Array;
  /** M */
  readonly clusterCount: number;
  /** P */
  readonly positionCount: number;
  /** [B * P] newest event a prediction sees, -1 = unused. */
  readonly positions: Int32Array;
  /** K */
  readonly collaborative: number;
}
