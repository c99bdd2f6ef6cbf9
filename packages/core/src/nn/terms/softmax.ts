import { softmaxLossSync } from "../../ops/softmax-loss/softmax-loss.js";
import type { Term } from "./term.js";

/**
 * `mean -log p` of every position's targets under a softmax over the catalog, or over candidates, by the network's own
 * readout; what a position has seen may be left out of it.
 */
export const softmaxTerm: Term = {
  name: "prediction",
  ofVectors(
    { network, batch, targets, mask, batchWeight, items, itemBias, sampled, device, allocate },
    vectors,
    offsets,
  ) {
    const rows = batch.size * batch.positionCount;
    const result = softmaxLossSync(
      {
        interests: { data: vectors, rows: vectors.length / items.cols, cols: items.cols },
        interestsPerRow: vectors.length / items.cols / rows,
        ...(offsets === undefined ? {} : { offsets }),
        items,
        ...(itemBias === undefined ? {} : { itemBias }),
        targets,
        ...(mask === undefined ? {} : { mask }),
        readout: network.readout,
        ...(sampled === undefined ? {} : { sampled }),
        ...(device === undefined ? {} : { device }),
      },
      allocate,
    );
    const { interests, offsets: prior, items: ofItems, itemBias: bias, itemIds: ids } = result.gradients;
    for (const gradient of [interests, prior, ofItems, bias]) scale(gradient, batchWeight);
    return {
      loss: batchWeight * result.loss,
      vectors: interests,
      offsets: prior,
      items: { ...(ids === undefined ? {} : { ids }), data: ofItems, bias },
    };
  },
};

function scale(values: Float32Array, factor: number): void {
  if (factor === 1) return;
  for (let i = 0; i < values.length; i++) values[i]! *= factor;
}
