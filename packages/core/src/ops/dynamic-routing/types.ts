import type { DevicePreference } from "../../base/run-options.js";

/** Histories with the maps that turn an event into what it says about each interest. */
export interface RoutingProblem {
  /** B */
  readonly users: number;
  /** T */
  readonly length: number;
  /** K */
  readonly interests: number;
  /** d */
  readonly dim: number;
  /** [B] events of each user, at most T: those at positions 0 .. lengths[b] - 1. */
  readonly lengths: Uint32Array;
  /** [B * T * d]; what lies beyond a user's length is not read. With `rows` a table whose rows have d elements. */
  readonly events: Float32Array;
  /** [B * T] the table's row of each event; absent: the events lie in their order. */
  readonly rows?: Uint32Array;
  /** [mapCount, d, K * d], or [mapCount, d, d] when `shared`. */
  readonly maps: Float32Array;
  /** 1: one map for all positions; else one for each, at least T. */
  readonly mapCount: number;
  /** Whether an event says the same to every interest; default false. */
  readonly shared?: boolean;
  /** A kernel variant by name ("reference", "scalar", "avx2", "avx512", "neon", "cuda", or "typescript"); absent: the best there is. */
  readonly variant?: string;
  /** Where to run; default "cpu". "cuda" is an error where no GPU can be used, "auto" falls back (see `chooseDevice`). */
  readonly device?: DevicePreference;
}

export interface DynamicRoutingInput extends RoutingProblem {
  /** R >= 1 rounds. */
  readonly iterations: number;
  /** [K * T] logits of the first round. */
  readonly initial: Float32Array;
}

export interface DynamicRoutingOutput {
  /** [B * K * d]; 0 for a user without events. */
  readonly vectors: Float32Array;
  /** [B * K * d] the same before squashing. */
  readonly sums: Float32Array;
  /** [B * K * T] of the last round: each event's sum to 1 over the interests, 0 where padded. */
  readonly coefficients: Float32Array;
}

export interface DynamicRoutingGradientInput extends RoutingProblem {
  /** As `dynamicRoutingSync` gave them; held fixed. */
  readonly coefficients: Float32Array;
  readonly sums: Float32Array;
  /** [B * K * d]; an interest whose row is 0 costs nothing. */
  readonly vectorGradient: Float32Array;
}

export interface DynamicRoutingGradients {
  /** [B * T * d], 0 where padded. */
  readonly events: Float32Array;
  /** As `maps`. */
  readonly maps: Float32Array;
}
