import { dropout } from "../tensor/dropout.js";
import { gelu } from "../tensor/gelu.js";
import { layerNorm } from "../tensor/layer-norm.js";
import { maskedSoftmax } from "../tensor/masked-softmax.js";
import { tf } from "../tensor/tfjs.js";
import { mergeHeads, splitHeads } from "./heads.js";
import {
  gaussian,
  layerNormSpecs,
  linear,
  linearSpecs,
  type ParameterSpec,
  type ParameterTensors,
  parameter,
  uniform,
  zeros,
} from "./parameters.js";
import type { SequenceBatch } from "./sequence-batch.js";

export interface TransformerShape {
  readonly dim: number;
  readonly layers: number;
  readonly heads: number;
  readonly maxHistory: number;
}

/** Dropout of one training step: its rate, and a fresh seed for every call. Absent when serving. */
export interface DropoutSource {
  readonly rate: number;
  seed(): number;
}

export function transformerSpecs({ dim, layers, maxHistory }: TransformerShape): ParameterSpec[] {
  // The three projections start as one Glorot-uniform matrix [dim, 3 dim] would.
  const projection = uniform(Math.sqrt(6 / (4 * dim)));
  const specs: ParameterSpec[] = [
    { name: "position", shape: [maxHistory, dim], init: gaussian(0.02) },
    ...layerNormSpecs("norm-in", dim),
    ...layerNormSpecs("norm-out", dim),
  ];
  for (let i = 0; i < layers; i++) {
    const block = `block${i}`;
    specs.push(
      ...layerNormSpecs(`${block}/norm1`, dim),
      ...linearSpecs(`${block}/query`, dim, dim, { weight: projection, bias: zeros }),
      ...linearSpecs(`${block}/key`, dim, dim, { weight: projection, bias: zeros }),
      ...linearSpecs(`${block}/value`, dim, dim, { weight: projection, bias: zeros }),
      ...linearSpecs(`${block}/merge`, dim, dim, { bias: zeros }),
      ...layerNormSpecs(`${block}/norm2`, dim),
      ...linearSpecs(`${block}/widen`, dim, 2 * dim),
      ...linearSpecs(`${block}/narrow`, 2 * dim, dim),
    );
  }
  return specs;
}

/**
 * Causal pre-LayerNorm transformer (Kang and McAuley 2018; Xiong et al. 2020) over embedded histories, newest first,
 * with learned recency positions and LayerNorm on input and output.
 *
 * @param embedded [B, T, d] item rows, zero where padded
 * @returns [B, T, d]; state t has seen the events at t and older only
 */
export function encodeHistories(
  tensors: ParameterTensors,
  embedded: tf.Tensor3D,
  batch: SequenceBatch,
  shape: TransformerShape,
  drop?: DropoutSource,
): tf.Tensor3D {
  const { size, length } = batch;
  const { dim, heads } = shape;
  const thin = <T extends tf.Tensor>(x: T): T => (drop === undefined ? x : dropout(x, drop.rate, drop.seed()));
  const norm = <T extends tf.Tensor>(x: T, name: string): T =>
    layerNorm(x, parameter(tensors, `${name}/gamma`), parameter(tensors, `${name}/beta`));
  const position = tf.slice(parameter(tensors, "position") as tf.Tensor2D, [0, 0], [length, dim]);
  let x = thin(norm(tf.add(embedded, position) as tf.Tensor3D, "norm-in"));
  const mask = tf.tensor(causalMask(batch), [size, 1, length, length], "float32");
  for (let i = 0; i < shape.layers; i++) {
    const block = `block${i}`;
    const h = norm(x, `${block}/norm1`);
    const [query, key, value] = ["query", "key", "value"].map((name) =>
      splitHeads(linear(tensors, `${block}/${name}`, h) as tf.Tensor3D, heads),
    ) as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D];
    const logits = tf.matMul(tf.mul(query, Math.sqrt(heads / dim)), key, false, true);
    const attention = thin(maskedSoftmax(logits, mask));
    const attended = linear(tensors, `${block}/merge`, mergeHeads(tf.matMul(attention, value) as tf.Tensor4D));
    x = tf.add(x, thin(attended));
    const wide = thin(gelu(linear(tensors, `${block}/widen`, norm(x, `${block}/norm2`))));
    x = tf.add(x, thin(linear(tensors, `${block}/narrow`, wide)));
  }
  return norm(x, "norm-out");
}

/**
 * [B * T * T] 1 where row t may attend to column s: s is as old as t or older, and an event. Padding attends to
 * itself alone, so that no row is left with nothing to attend to.
 */
export function causalMask({ size, length, lengths }: SequenceBatch): Float32Array {
  const mask = new Float32Array(size * length * length);
  for (let b = 0; b < size; b++) {
    const end = lengths[b]!;
    for (let t = 0; t < length; t++) {
      const row = (b * length + t) * length;
      if (t < end) mask.fill(1, row + t, row + end);
      else mask[row + t] = 1;
    }
  }
  return mask;
}
