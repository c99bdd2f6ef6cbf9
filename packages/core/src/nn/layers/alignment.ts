import { gelu } from "../tensor/gelu.js";
import { layerNorm } from "../tensor/layer-norm.js";
import { tf } from "../tensor/tfjs.js";
import {
  constant,
  identity,
  layerNormSpecs,
  linear,
  linearSpecs,
  type ParameterSpec,
  type ParameterTensors,
  parameter,
  zeros,
} from "./parameters.js";
import type { SequenceBatch } from "./sequence-batch.js";

/** Mass under which an interest counts as having no semantic side. */
export const MASS_EPSILON = 1e-4;

export type Fusion = "gate" | "add" | "concat";

export interface AlignmentShape {
  readonly dim: number;
  readonly interests: number;
  readonly align: "hard" | "soft" | "sinkhorn";
  /** tau_a: at .7 and above the assignment stays uniform and the whole module does nothing. */
  readonly alignTemperature: number;
  /** gamma: how much the routing splits a cluster that spans several interests; 0 switches that off. */
  readonly alignSplit: number;
  readonly fusion: Fusion;
}

export interface Alignment {
  /** [B, P, K, d] fused interests */
  readonly fused: tf.Tensor4D;
  /** [B, P, M, K] assignment of clusters to interests, zero for absent clusters. */
  readonly assignment: tf.Tensor4D;
  /** [B, P, K, d] semantic side */
  readonly semantic: tf.Tensor4D;
  /** [B, P, K] events behind each semantic side. */
  readonly mass: tf.Tensor3D;
  /** [B, P, K, d], `fusion: "gate"` only. */
  readonly gate?: tf.Tensor4D;
}

export function alignmentSpecs({ dim, fusion }: AlignmentShape): ParameterSpec[] {
  const specs: ParameterSpec[] = [
    ...linearSpecs("align/semantic", dim, dim, { weight: identity, bias: false }),
    ...layerNormSpecs("align/norm-cluster", dim),
    ...layerNormSpecs("align/norm-interest", dim),
    ...linearSpecs("align/cluster", dim, dim),
    ...linearSpecs("align/interest", dim, dim),
  ];
  if (fusion === "gate") {
    specs.push(...linearSpecs("align/gate", 2 * dim + 1, dim, { weight: zeros, bias: constant(-1) }));
  } else if (fusion === "add") {
    specs.push(...linearSpecs("align/add", dim, dim, { bias: false }), ...layerNormSpecs("align/norm-add", dim));
  } else {
    specs.push(...linearSpecs("align/widen", 2 * dim, 2 * dim), ...linearSpecs("align/narrow", 2 * dim, dim));
  }
  return specs;
}

/**
 * Adaptive assignment of semantic clusters to collaborative interests (docs/concepts/method.md, "alignment"): clusters
 * that are too fine merge on one interest through the assignment, clusters that are too coarse split by the routing.
 *
 * @param source [B, T, d] states or raw item rows that the semantic side pools
 * @param interests [B, P, K, d] collaborative interests v
 * @param routing [B, K, T] softmax over the interests of the pooling logits
 */
export function alignInterests(
  tensors: ParameterTensors,
  source: tf.Tensor3D,
  interests: tf.Tensor4D,
  routing: tf.Tensor3D,
  batch: SequenceBatch,
  shape: AlignmentShape,
): Alignment {
  const { size, length, positionCount: positions, clusterCount: clusters } = batch;
  const { dim, interests: count } = shape;
  const norm = (x: tf.Tensor, name: string): tf.Tensor =>
    layerNorm(x, parameter(tensors, `align/${name}/gamma`), parameter(tensors, `align/${name}/beta`));
  const pooled = linear(tensors, "align/semantic", source) as tf.Tensor3D;
  const sizes = clusterSizes(batch);
  const means = tf.matMul(
    tf.tensor(meanWeights(batch, sizes), [size, positions * clusters, length], "float32"),
    pooled,
  );
  const keys = linear(tensors, "align/cluster", norm(means, "norm-cluster"));
  const queries = linear(tensors, "align/interest", norm(interests, "norm-interest"));
  const logits = tf.mul(
    tf.matMul(
      tf.reshape(keys, [size * positions, clusters, dim]) as tf.Tensor3D,
      tf.reshape(queries, [size * positions, count, dim]) as tf.Tensor3D,
      false,
      true,
    ),
    1 / (Math.sqrt(dim) * shape.alignTemperature),
  );
  const present = tf.tensor(
    Float32Array.from(sizes, (n) => (n > 0 ? 1 : 0)),
    [size * positions, clusters, 1],
  );
  const assignment = tf.reshape(tf.mul(assign(logits as tf.Tensor3D, sizes, shape.align), present), [
    size,
    positions,
    clusters,
    count,
  ]) as tf.Tensor4D;
  const shares = splitAssignment(assignment, routing, batch, shape.alignSplit);
  const mass = tf.reshape(tf.sum(shares, -1), [size, positions, count]) as tf.Tensor3D;
  const semantic = tf.div(
    tf.reshape(tf.matMul(shares, pooled), [size, positions, count, dim]),
    tf.add(tf.expandDims(mass, -1), 1e-6),
  ) as tf.Tensor4D;
  // Read off the tape: a comparison has no gradient, and tfjs refuses to differentiate past one.
  const backed = tf.tensor(
    mass.dataSync<"float32">().map((events) => (events > MASS_EPSILON ? 1 : 0)),
    [size, positions, count, 1],
  );
  const toSemantic = tf.sub(semantic, interests);
  if (shape.fusion === "gate") {
    const features = tf.concat([interests, semantic, tf.expandDims(tf.log1p(mass), -1)], -1);
    const gate = tf.mul(tf.sigmoid(linear(tensors, "align/gate", features)), backed) as tf.Tensor4D;
    const fused = tf.add(interests, tf.mul(gate, toSemantic)) as tf.Tensor4D;
    return { fused, assignment, semantic, mass, gate };
  }
  const joint =
    shape.fusion === "add"
      ? norm(tf.add(interests, linear(tensors, "align/add", semantic)), "norm-add")
      : linear(tensors, "align/narrow", gelu(linear(tensors, "align/widen", tf.concat([interests, semantic], -1))));
  const fused = tf.add(interests, tf.mul(tf.sub(joint, interests), backed)) as tf.Tensor4D;
  return { fused, assignment, semantic, mass };
}

/** [B * P * M] visible events of each cluster at each predicted position. */
export function clusterSizes({
  size,
  length,
  lengths,
  clusters,
  clusterCount,
  positionCount,
  positions,
}: SequenceBatch) {
  const sizes = new Float32Array(size * positionCount * clusterCount);
  for (let i = 0; i < positions.length; i++) {
    const b = Math.floor(i / positionCount);
    const start = positions[i]!;
    if (start < 0) continue;
    for (let t = start; t < lengths[b]!; t++) {
      const m = clusters[b * length + t]!;
      if (m >= 0) sizes[i * clusterCount + m] = sizes[i * clusterCount + m]! + 1;
    }
  }
  return sizes;
}

function meanWeights(batch: SequenceBatch, sizes: Float32Array): Float32Array {
  const { length, lengths, clusters, clusterCount, positionCount, positions } = batch;
  const weights = new Float32Array(sizes.length * length);
  for (let i = 0; i < positions.length; i++) {
    const b = Math.floor(i / positionCount);
    const start = positions[i]!;
    if (start < 0) continue;
    for (let t = start; t < lengths[b]!; t++) {
      const m = clusters[b * length + t]!;
      if (m >= 0) weights[(i * clusterCount + m) * length + t] = 1 / sizes[i * clusterCount + m]!;
    }
  }
  return weights;
}

/** [R, M, K] -> the same: how each cluster distributes over the interests. */
function assign(logits: tf.Tensor3D, sizes: Float32Array, align: AlignmentShape["align"]): tf.Tensor3D {
  const soft = tf.softmax(logits) as tf.Tensor3D;
  if (align === "soft") return soft;
  if (align === "hard") {
    // Straight-through: the value is the argmax, the gradient the softmax's.
    const winner = tf.oneHot(tf.argMax(logits, -1) as tf.Tensor2D, logits.shape[2]);
    const straight = tf.customGrad((x) => ({
      value: tf.cast(winner, "float32"),
      gradFunc: (dy: tf.Tensor) => tf.mul(dy, tf.onesLike(x as tf.Tensor)),
    }));
    return straight(soft) as tf.Tensor3D;
  }
  const [rows, clusters, count] = logits.shape;
  const mass = tf.tensor(sizes, [rows, clusters, 1], "float32");
  const share = tf.div(tf.sum(mass, 1, true), count);
  const present = tf.cast(tf.greater(mass, 0), "float32");
  const top = tf.max(tf.max(logits, 2, true), 1, true);
  let a = tf.mul(tf.exp(tf.sub(logits, top)), present);
  for (let i = 0; i < 3; i++) {
    a = tf.mul(tf.div(a, tf.add(tf.sum(a, 1, true), 1e-9)), share);
    a = tf.mul(tf.div(a, tf.add(tf.sum(a, 2, true), 1e-9)), mass);
  }
  return tf.div(a, tf.add(tf.sum(a, 2, true), 1e-9)) as tf.Tensor3D;
}

/**
 * Share of each visible event in each interest: `n_kt` is proportional over k to `a_{cl(t),k} c_kt^gamma`.
 *
 * @param assignment [B, P, M, K]
 * @param routing [B, K, T], positive
 * @returns [B, P * K, T]; zero for events without a cluster
 */
export function splitAssignment(
  assignment: tf.Tensor4D,
  routing: tf.Tensor3D,
  batch: SequenceBatch,
  gamma: number,
): tf.Tensor3D {
  const { size, length, lengths, clusters, clusterCount, positionCount, positions } = batch;
  const count = assignment.shape[3];
  // [B, P, T, M] 1 where an event is visible and in a cluster.
  const memberships = new Float32Array(positions.length * length * clusterCount);
  for (let i = 0; i < positions.length; i++) {
    const b = Math.floor(i / positionCount);
    if (positions[i]! < 0) continue;
    for (let t = positions[i]!; t < lengths[b]!; t++) {
      const m = clusters[b * length + t]!;
      if (m >= 0) memberships[(i * length + t) * clusterCount + m] = 1;
    }
  }
  const seen = tf.matMul(tf.tensor(memberships, [size, positionCount, length, clusterCount]), assignment);
  // c^gamma for a positive c.
  const power = gamma === 1 ? routing : tf.exp(tf.mul(tf.log(routing), gamma));
  const weights = tf.mul(seen, tf.reshape(tf.transpose(power, [0, 2, 1]), [size, 1, length, count]));
  const shares = tf.div(weights, tf.add(tf.sum(weights, -1, true), 1e-9));
  return tf.reshape(tf.transpose(shares, [0, 1, 3, 2]), [size, positionCount * count, length]) as tf.Tensor3D;
}
