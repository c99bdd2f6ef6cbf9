import type { Random } from "@prismrec/core/base";
import { FieldPacker, type InterestNetwork, packedFields, type SequenceBatch, UserPacker } from "@prismrec/core/nn";
import type { CutsConfig } from "../../config.js";
import type { RunSeeds } from "../seeds.js";
import { packProfiles, type TrainingSequences } from "../sequences.js";
import type { BatchSource, DrawnBatch } from "./batch-source.js";
import { type CandidateSampler, LogUniformSampler } from "./log-uniform.js";
import { UniformSampler } from "./uniform.js";

/**
 * The classic multi-interest batches (Cen et al. 2020): each step cuts every sequence of the batch once at random; the
 * next item is to be found among candidates that the batch shares.
 */
export class CutBatches implements BatchSource {
  readonly #sampler: CandidateSampler;
  #users: Uint32Array = new Uint32Array(0);

  constructor(
    private readonly config: CutsConfig,
    private readonly network: InterestNetwork,
    private readonly sequences: TrainingSequences,
    private readonly itemCount: number,
    private readonly seeds: RunSeeds,
  ) {
    this.#sampler = config.candidates === "uniform" ? new UniformSampler(itemCount) : new LogUniformSampler(itemCount);
  }

  beginEpoch(epoch: number): { readonly steps: number } {
    const { count } = this.sequences;
    this.#users = this.seeds.epoch(epoch).shuffle(Uint32Array.from({ length: count }, (_, user) => user));
    return { steps: Math.ceil(count / this.config.batchSize) };
  }

  draw(index: number, random: Random): DrawnBatch {
    const { batchSize, minHistory, negativesPerUser, logQ } = this.config;
    const users = this.#users.subarray(index * batchSize, (index + 1) * batchSize);
    const cuts = users.map((user) => {
      const length = this.sequences.indptr[user + 1]! - this.sequences.indptr[user]!;
      return random.integer(Math.min(minHistory, length - 1), length);
    });
    const { batch, targets } = packCuts(this.sequences, users, cuts, this.network);
    const drawn = this.#sampler.draw(negativesPerUser * users.length, targets, random);
    const indptr = new Uint32Array(users.length + 1).map((_, row) => row);
    return {
      batch,
      targets: { indptr, indices: targets, rows: users.length, cols: this.itemCount },
      weight: 1,
      sampled: logQ ? drawn : { ids: drawn.ids },
    };
  }
}

/** The last events (as many as the network reads) before each cut, newest first, and the item at the cut as the row of its target. */
function packCuts(
  sequences: TrainingSequences,
  users: Uint32Array,
  cuts: Uint32Array,
  network: InterestNetwork,
): { readonly batch: SequenceBatch; readonly targets: Uint32Array } {
  const size = users.length;
  const lengths = cuts.map((cut) => Math.min(cut, network.maxHistory));
  const length = lengths.reduce((longest, own) => Math.max(longest, own), 1);
  const items = new Uint32Array(size * length);
  const targets = new Uint32Array(size);
  const packer = FieldPacker.of(network, size * length);
  const profiles = UserPacker.of(network, size);
  packProfiles(profiles, sequences, users);
  for (let b = 0; b < size; b++) {
    const cut = sequences.indptr[users[b]!]! + cuts[b]!;
    for (let t = 0; t < lengths[b]!; t++) {
      items[b * length + t] = sequences.items[cut - 1 - t]!;
      packer?.put(b * length + t, sequences, cut - 1 - t);
    }
    targets[b] = sequences.items[cut]! - 1;
  }
  const clusters = new Int16Array(size * length).fill(-1);
  const positions = new Int32Array(size);
  const batch = { size, length, items, lengths, clusters, clusterCount: 0, positionCount: 1, positions };
  return { batch: { ...batch, ...packedFields(packer, profiles) }, targets };
}
