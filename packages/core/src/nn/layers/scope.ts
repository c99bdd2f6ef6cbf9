import { tf } from "../tensor/tfjs.js";

/**
 * Disposes of every tensor that `body` makes. Unlike `tf.tidy` it does not look for tensors in what `body` returns, which
 * takes seconds for a large typed array: copy out what has to stay.
 */
export function withScope<T>(body: () => T): T {
  const engine = tf.engine();
  engine.startScope();
  try {
    return body();
  } finally {
    engine.endScope();
  }
}
