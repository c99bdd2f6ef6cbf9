import { tf } from "../tensor/tfjs.js";
import { linear, linearSpecs, type ParameterSpec, type ParameterTensors, parameter, uniform } from "./parameters.js";
import type { SequenceBatch } from "./sequence-batch.js";

/** Gates stand side by side: reset, update, candidate. All weights start uniform in +-1/sqrt(hidden). */
export function gruSpecs(name: string, inputs: number, hidden: number): ParameterSpec[] {
  const init = { weight: uniform(1 / Math.sqrt(hidden)), bias: uniform(1 / Math.sqrt(hidden)) };
  return [
    ...linearSpecs(`${name}/input`, inputs, 3 * hidden, init),
    ...linearSpecs(`${name}/state`, hidden, 3 * hidden, init),
  ];
}

/**
 * A gated recurrent unit (Cho et al. 2014) from the oldest event of each history to the newest:
 * `r, z = sigmoid(W x + b + U h + c)`, `n = tanh(W x + b + r (U h + c))`, `h <- (1 - z) n + z h`, starting at 0.
 *
 * What depends on the events alone is one product for all of them; each step then has one product of its own.
 *
 * @param x [B, T, inputs], newest first; what lies beyond a history's length is not read
 * @returns [B, T, hidden]; state t has seen the events at t and older only, and is 0 where padded
 */
export function gru(tensors: ParameterTensors, name: string, x: tf.Tensor3D, batch: SequenceBatch): tf.Tensor3D {
  const { size, length, lengths } = batch;
  const weight = parameter(tensors, `${name}/state/weight`) as tf.Tensor2D;
  const bias = parameter(tensors, `${name}/state/bias`);
  const hidden = weight.shape[0];
  const shortest = lengths.reduce((least, own) => Math.min(least, own), length);
  const ofEvents = linear(tensors, `${name}/input`, x);
  // tfjs cannot differentiate the unstacking of a single slice.
  const events = length === 1 ? [tf.reshape(ofEvents, [size, 3 * hidden])] : tf.unstack(ofEvents, 1);
  const states: tf.Tensor2D[] = [];
  let state = tf.zeros([size, hidden]) as tf.Tensor2D;
  for (let t = length - 1; t >= 0; t--) {
    const recurrent = tf.add(tf.matMul(state, weight), bias) as tf.Tensor2D;
    const [ofEvent, candidateOfEvent] = tf.split(events[t]! as tf.Tensor2D, [2 * hidden, hidden], 1) as [
      tf.Tensor2D,
      tf.Tensor2D,
    ];
    const [ofState, candidateOfState] = tf.split(recurrent, [2 * hidden, hidden], 1) as [tf.Tensor2D, tf.Tensor2D];
    const [reset, update] = tf.split(tf.sigmoid(tf.add(ofEvent, ofState)), 2, 1) as [tf.Tensor2D, tf.Tensor2D];
    const candidate = tf.tanh(tf.add(candidateOfEvent, tf.mul(reset, candidateOfState)));
    state = tf.add(candidate, tf.mul(update, tf.sub(state, candidate))) as tf.Tensor2D;
    if (t >= shortest) state = tf.mul(state, begun(lengths, t)) as tf.Tensor2D;
    states[t] = state;
  }
  return tf.stack(states, 1) as tf.Tensor3D;
}

/** [B, 1] 1 for the histories that have an event at t: padding comes first here, so the state waits at 0. */
function begun(lengths: Uint32Array, t: number): tf.Tensor2D {
  return tf.tensor2d(
    Float32Array.from(lengths, (own) => (t < own ? 1 : 0)),
    [lengths.length, 1],
  );
}
