import type { StepBuffers } from "./step-buffers.js";
import type { StepGradients } from "./trainable.js";

/** What one step found; `parts` names the terms of the loss. */
export interface StepResult {
  readonly loss: number;
  readonly parts: Readonly<Record<string, number>>;
  readonly gradients: StepGradients;
}

/** A way to learn: which batches make an epoch, and what a batch says about the parameters. */
export interface Objective {
  /** Fixes the batches of an epoch, counted from 1. */
  beginEpoch(epoch: number): { readonly steps: number };
  /**
   * Loss and gradients of one batch of the epoch begun.
   * @param index in the epoch, from 0
   * @param step of the run, from 0
   * @param buffers where the gradients lie until they are released; absent: memory of their own
   */
  step(index: number, step: number, buffers?: StepBuffers): StepResult;
}
