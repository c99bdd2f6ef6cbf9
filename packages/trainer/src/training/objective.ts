import { type DevicePreference, PrismrecError } from "@prismrec/core/base";
import {
  externalLoss,
  type InterestNetwork,
  type NetworkOutput,
  type ParameterTensors,
  type RowGradient,
  type Term,
  type TermArtifacts,
  type TermInput,
  tf,
  type VectorLoss,
} from "@prismrec/core/nn";
import { type GradientAllocator, mergeRows, type RowContribution } from "@prismrec/core/ops";
import type { BatchSource, DrawnBatch } from "./batches/batch-source.js";
import { differentiate, differentiateVectors, type NetworkGradients, needsNoTape } from "./gradients.js";
import type { RunSeeds } from "./seeds.js";
import type { StepBuffers } from "./step-buffers.js";
import { addRows, type ItemGradient, type StepGradients, type Trainable } from "./trainable.js";

/** What one step found; `parts` names the terms of the loss. */
export interface StepResult {
  readonly loss: number;
  readonly parts: Readonly<Record<string, number>>;
  readonly gradients: StepGradients;
}

/** A term as this epoch has it. */
interface ActiveTerm {
  readonly term: Term;
  readonly settings: unknown;
  readonly weight: number;
}

type Inputs = (active: ActiveTerm, allocate?: GradientAllocator) => TermInput;

/** The sum of a recipe's terms over its batches: what a batch says about the parameters. */
export class Objective {
  #active: readonly ActiveTerm[] = [];

  constructor(
    private readonly terms: readonly Term[],
    private readonly config: Readonly<Record<string, unknown>>,
    private readonly network: InterestNetwork,
    private readonly trainable: Trainable,
    private readonly batches: BatchSource,
    private readonly artifacts: TermArtifacts,
    private readonly seeds: RunSeeds,
    private readonly device?: DevicePreference,
  ) {}

  /** Fixes the batches of an epoch, counted from 1, and what each term weighs in it. */
  beginEpoch(epoch: number): { readonly steps: number } {
    this.#active = this.terms.flatMap((term) => {
      const settings = this.config[term.name];
      const weight = term.weight?.(settings, epoch, this.config) ?? 1;
      return weight === 0 ? [] : [{ term, settings, weight }];
    });
    return this.batches.beginEpoch(epoch);
  }

  /**
   * Loss and gradients of one batch of the epoch begun.
   *
   * @param index in the epoch, from 0
   * @param step of the run, from 0
   * @param buffers where the gradients lie until they are released; absent: memory of their own
   */
  step(index: number, step: number, buffers?: StepBuffers): StepResult {
    const { network, trainable, device } = this;
    const { items, bias } = trainable;
    const random = this.seeds.step(step);
    const drawn = this.batches.draw(index, random);
    const { batch, targets, mask, sampled } = drawn;
    const inputs: Inputs = ({ settings, weight }, allocate) => ({
      settings,
      weight,
      network,
      batch,
      targets,
      ...(mask === undefined ? {} : { mask }),
      batchWeight: drawn.weight,
      items,
      ...(bias === undefined ? {} : { itemBias: bias }),
      ...(sampled === undefined ? {} : { sampled }),
      artifacts: this.artifacts,
      random,
      ...(device === undefined ? {} : { device }),
      ...(allocate === undefined ? {} : { allocate }),
    });
    const parts: Record<string, number> = {};
    const ofItems: RowGradient[] = [];
    const found = this.#differentiate(drawn, inputs, parts, ofItems, buffers);
    let { loss } = found;
    const contributions: RowContribution[] = [found.embedded];
    for (const active of this.#active) {
      const result = active.term.ofItems?.(inputs(active));
      if (result === undefined) continue;
      parts[active.term.name] = result.loss;
      loss += active.weight * result.loss;
      contributions.push(result.gradient);
    }
    // The part of a loss that has no other is the loss itself, to the bit.
    if (this.terms.length === 1) parts[this.terms[0]!.name] = loss;
    return { loss, parts, gradients: this.#gather(found, ofItems, contributions, buffers) };
  }

  /** Loss and gradients of the terms that look at what the network gives. */
  #differentiate(
    { batch, drop }: DrawnBatch,
    inputs: Inputs,
    parts: Record<string, number>,
    ofItems: RowGradient[],
    buffers: StepBuffers | undefined,
  ): NetworkGradients {
    const { network, trainable } = this;
    const { parameters, items } = trainable;
    const ofOutput = this.#active.filter(({ term }) => term.ofOutput !== undefined);
    const ofVectors = (
      vectors: Float32Array,
      offsets: Float32Array | undefined,
      allocate: GradientAllocator | undefined,
    ): VectorLoss | undefined => {
      let sum: VectorLoss | undefined;
      for (const active of this.#active) {
        const result = active.term.ofVectors?.(
          inputs(active, sum === undefined ? allocate : undefined),
          vectors,
          offsets,
        );
        if (result === undefined) continue;
        parts[active.term.name] = result.loss;
        const weighed = weigh(result, active.weight);
        if (weighed.items !== undefined) ofItems.push(weighed.items);
        sum = sum === undefined ? weighed : added(sum, weighed);
      }
      return sum;
    };
    if (ofOutput.length === 0 && drop === undefined && needsNoTape(network)) {
      return differentiateVectors(network, parameters, items, batch, buffers, (vectors, allocate) => {
        const { loss = 0, vectors: gradient = vectors.map(() => 0) } = ofVectors(vectors, undefined, allocate) ?? {};
        return { loss, gradient };
      });
    }
    return differentiate(network, parameters, items, batch, drop, buffers, (output, tensors) => {
      const given = output.offsets === undefined ? [output.vectors] : [output.vectors, output.offsets];
      const total = externalLoss(given, ([vectors, offsets]) => {
        const sum = ofVectors(vectors!, offsets, buffers?.tapeGradients);
        const gradients = [sum?.vectors, sum?.offsets];
        return {
          loss: sum?.loss ?? 0,
          gradients: given.map(({ size }, i) => gradients[i] ?? new Float32Array(size)),
        };
      });
      return ofOutput.reduce((sum, active) => addOutputTerm(sum, active, inputs, output, tensors, parts), total);
    });
  }

  /** All that says something of item rows, in one gradient. */
  #gather(
    { network }: Pick<NetworkGradients, "network">,
    ofItems: readonly RowGradient[],
    contributions: readonly RowContribution[],
    buffers: StepBuffers | undefined,
  ): StepGradients {
    const { items, bias } = this.trainable;
    const [whole, ...others] = ofItems.filter(({ ids }) => ids === undefined);
    const some = ofItems.flatMap(({ ids, data }) => (ids === undefined ? [] : [{ ids, data }]));
    if (whole !== undefined) {
      for (const { data, bias: more } of others) {
        addTo(whole.data, data);
        if (more !== undefined && whole.bias !== undefined) addTo(whole.bias, more);
      }
      addRows({ data: whole.data, rows: items.rows, cols: items.cols }, [...some, ...contributions]);
      const withBias = bias !== undefined && whole.bias !== undefined;
      return { network, items: { data: whole.data }, ...(withBias ? { bias: whole.bias } : {}) };
    }
    const all = [...some, ...contributions];
    const length = all.reduce((sum, part) => sum + part.data.length, 0);
    const { rows, data } = mergeRows(all, items.cols, buffers?.floats("items", length));
    const merged: ItemGradient = { rows, data };
    if (bias === undefined) return { network, items: merged };
    return { network, items: merged, bias: mergedBias(rows, ofItems) };
  }
}

function addOutputTerm(
  sum: tf.Scalar,
  active: ActiveTerm,
  inputs: Inputs,
  output: NetworkOutput,
  tensors: ParameterTensors,
  parts: Record<string, number>,
): tf.Scalar {
  const { term, weight } = active;
  const result = term.ofOutput?.(inputs(active), output, tensors);
  if (result === undefined) return sum;
  parts[term.name] = result.loss ?? result.value.dataSync()[0]!;
  return tf.add(sum, tf.mul(result.value, weight)) as tf.Scalar;
}

function weigh(result: VectorLoss, weight: number): VectorLoss {
  if (weight === 1) return result;
  const { vectors, offsets, items } = result;
  for (const values of [vectors, offsets, items?.data, items?.bias]) {
    if (values !== undefined) for (let i = 0; i < values.length; i++) values[i]! *= weight;
  }
  return { ...result, loss: weight * result.loss };
}

function added(sum: VectorLoss, more: VectorLoss): VectorLoss {
  addTo(sum.vectors, more.vectors);
  if (sum.offsets !== undefined && more.offsets !== undefined) addTo(sum.offsets, more.offsets);
  const offsets = sum.offsets ?? more.offsets;
  return { loss: sum.loss + more.loss, vectors: sum.vectors, ...(offsets === undefined ? {} : { offsets }) };
}

function addTo(sum: Float32Array, more: Float32Array): void {
  if (sum.length !== more.length) {
    throw new PrismrecError("INTERNAL", "the terms of a loss disagree about the shape of a gradient", {
      expected: `${sum.length} values`,
      received: `${more.length} values`,
    });
  }
  for (let i = 0; i < sum.length; i++) sum[i]! += more[i]!;
}

/** The bias' gradient of each merged row; the rows of a term ascend and are all among the merged ones. */
function mergedBias(rows: Uint32Array, ofItems: readonly RowGradient[]): Float32Array {
  const merged = new Float32Array(rows.length);
  for (const { ids, bias } of ofItems) {
    if (ids === undefined || bias === undefined) continue;
    let at = 0;
    ids.forEach((row, i) => {
      while (rows[at] !== row) at++;
      merged[at]! += bias[i]!;
    });
  }
  return merged;
}
