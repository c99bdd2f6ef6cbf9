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
  const specs: ParameterSpec[] = [
    { name: "position", shape: [maxHistory, dim], init: gaussian(0.02) },
    ...layerNormSpecs("norm-in", dim),
    ...layerNormSpecs("norm-out", dim),
  ];
  for (let i = 0; i < layers; i++) {
    const block = `block${i}`;
    specs.push(
      ...layerNormSpecs(`${block}/norm1`, dim),
      ...selfAttentionSpecs(block, dim),
      ...layerNormSpecs(`${block}/norm2`, dim),
      ...linearSpecs(`${block}/widen`, dim, 2 * dim),
      ...linearSpecs(`${block}/narrow`, 2 * dim, dim),
    );
  }
  return specs;
}

/** Projections of multi-head self-attention, `<name>/query`, `/key`, `/value` and `/merge`. */
export function selfAttentionSpecs(name: string, dim: number): ParameterSpec[] {
  // The three projections start as one Glorot-uniform matrix [dim, 3 dim] would.
  const projection = uniform(Math.sqrt(6 / (4 * dim)));
  return [
    ...linearSpecs(`${name}/query`, dim, dim, { weight: projection, bias: zeros }),
    ...linearSpecs(`${name}/key`, dim, dim, { weight: projection, bias: zeros }),
    ...linearSpecs(`${name}/value`, dim, dim, { weight: projection, bias: zeros }),
    ...linearSpecs(`${name}/merge`, dim, dim, { bias: zeros }),
  ];
}

/** Leaves out some of a tensor's values; what is left keeps the expected sum. */
export type Thin = <T extends tf.Tensor>(x: T) => T;

/** What a training step leaves out, and nothing where it leaves out nothing. */
export function thinBy(drop: DropoutSource | undefined): Thin {
  return (x) => (drop === undefined ? x : dropout(x, drop.rate, drop.seed()));
}

/**
 * Multi-head scaled dot-product self-attention (Vaswani et al. 2017): [B, T, d] -> [B, T, d].
 *
 * @param h [B, T, d]
 * @param mask [B, 1, T, T] 1 where a row may attend to a column
 * @param thin what is left of the attention's weights
 */
export function selfAttention(
  tensors: ParameterTensors,
  name: string,
  h: tf.Tensor3D,
  mask: tf.Tensor,
  { dim, heads }: Pick<TransformerShape, "dim" | "heads">,
  thin: Thin,
): tf.Tensor3D {
  const [query, key, value] = ["query", "key", "value"].map((part) =>
    splitHeads(linear(tensors, `${name}/${part}`, h) as tf.Tensor3D, heads),
  ) as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D];
  const logits = tf.matMul(tf.mul(query, Math.sqrt(heads / dim)), key, false, true);
  const attention = thin(maskedSoftmax(logits, mask));
  return linear(tensors, `${name}/merge`, mergeHeads(tf.matMul(attention, value) as tf.Tensor4D)) as tf.Tensor3D;
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
  const { dim } = shape;
  const thin = thinBy(drop);
  const norm = <T extends tf.Tensor>(x: T, name: string): T =>
    layerNorm(x, parameter(tensors, `${name}/gamma`), parameter(tensors, `${name}/beta`));
  const position = tf.slice(parameter(tensors, "position") as tf.Tensor2D, [0, 0], [length, dim]);
  let x = thin(norm(tf.add(embedded, position) as tf.Tensor3D, "norm-in"));
  const mask = tf.tensor(causalMask(batch), [size, 1, length, length], "float32");
  for (let i = 0; i < shape.layers; i++) {
    const block = `block${i}`;
    const h = norm(x, `${block}/norm1`);
    x = tf.add(x, thin(selfAttention(tensors, block, h, mask, shape, thin)));
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
