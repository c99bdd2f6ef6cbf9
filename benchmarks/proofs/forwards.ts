// Proof that the models written from papers compute what their papers say: on the same random weights and histories,
// interests and scores of every item agree with independent forward passes in PyTorch (peers/model_forwards.py). Writes
// results/model-forwards.csv; exits with 1 where a difference is over TOLERANCE.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRandom } from "@prismrec/core/base";
import { createNetwork, InterestModel, MindNetwork, networkConfig } from "@prismrec/core/models";
import { encodeSafetensors, ParameterSet, type StoredTensor, type TensorBackendName } from "@prismrec/core/nn";
import { benchmarksRoot } from "../lib/paths.js";
import { PEERS_FOLDER } from "../lib/peers.js";

const MODELS = ["sasrec", "esasrec", "gru4rec", "mind", "sine", "remi"];
const SHAPES = [
  { users: 40, maxHistory: 12, items: 300, dim: 16 },
  { users: 64, maxHistory: 50, items: 2000, dim: 64 },
];
const SEEDS = [1, 2, 3];
const BACKENDS: readonly TensorBackendName[] = ["prismrec", "cpu"];
const TOLERANCE = 1e-4;

type Shape = (typeof SHAPES)[number];

interface Row {
  readonly model: string;
  readonly backend: string;
  readonly seed: number;
  readonly shape: string;
  readonly interests: number;
  readonly scores: number;
}

/** Every parameter off its start, so that none is a 0 or a 1 that would hide a mistake. */
function weightsOf(model: string, shape: Shape, seed: number) {
  const config = networkConfig({ model, dim: shape.dim, maxHistory: shape.maxHistory });
  const network = createNetwork(config);
  const random = createRandom(seed, `forwards/${model}`);
  const parameters = ParameterSet.create(network.specs(), random);
  for (const { values } of parameters) for (let i = 0; i < values.length; i++) values[i]! += 0.1 * random.normal();
  const scale = 1 / Math.sqrt(shape.dim);
  const data = Float32Array.from({ length: shape.items * shape.dim }, () => scale * random.normal());
  // Some histories are longer than the model reads.
  const histories = Array.from({ length: shape.users }, (_, user) => ({
    items: Uint32Array.from({ length: 1 + ((user * 7) % (shape.maxHistory + 5)) }, () =>
      random.integer(1, shape.items + 1),
    ),
  }));
  return { config, network, parameters, items: { data, rows: shape.items, cols: shape.dim }, histories };
}

async function compare(python: string, dir: string, model: string, shape: Shape, seed: number): Promise<Row[]> {
  const { config, network, parameters, items, histories } = weightsOf(model, shape, seed);
  const longest = shape.maxHistory + 5;
  const padded = new Uint32Array(shape.users * longest);
  for (const [user, history] of histories.entries()) padded.set(history.items, user * longest);
  const tensors = new Map<string, StoredTensor>([
    ["items", { shape: [items.rows, items.cols], data: items.data }],
    ["histories", { shape: [shape.users, longest], data: padded }],
    ["lengths", { shape: [shape.users], data: Uint32Array.from(histories, (history) => history.items.length) }],
  ]);
  for (const { name, shape, values } of parameters) tensors.set(name, { shape, data: values });
  if (network instanceof MindNetwork) {
    const { interests, maxHistory } = network.config;
    tensors.set("initial-logits", { shape: [interests, maxHistory], data: network.initialLogits });
  }

  const rows: Row[] = [];
  let theirs: Float64Array | undefined;
  for (const backend of BACKENDS) {
    using ours = new InterestModel(network, parameters, items, undefined, backend);
    const { count, vectors, offsets } = ours.interests(histories);
    if (theirs === undefined) {
      const [input, output] = [join(dir, "input.safetensors"), join(dir, "output.bin")];
      await writeFile(input, encodeSafetensors(tensors, { config: JSON.stringify(config), interests: String(count) }));
      const script = join(benchmarksRoot, "peers", "model_forwards.py");
      const { status, stderr } = spawnSync(python, [script, input, output], { encoding: "utf8" });
      if (status !== 0) throw new Error(`model_forwards.py failed on ${model}: ${stderr}`);
      theirs = new Float64Array(new Uint8Array(await readFile(output)).buffer);
    }
    let ofInterests = 0;
    for (let i = 0; i < vectors.data.length; i++) {
      const absent = offsets[Math.floor(i / shape.dim)] === Number.NEGATIVE_INFINITY;
      if (absent !== Number.isNaN(theirs[i]!))
        throw new Error(`${model} has other interests than PyTorch (value ${i})`);
      if (!absent) ofInterests = Math.max(ofInterests, Math.abs(vectors.data[i]! - theirs[i]!));
    }
    const { ids, scores } = await ours.rank(histories, { k: shape.items, excludeHistory: false });
    let ofScores = 0;
    for (let i = 0; i < scores.length; i++) {
      const at = vectors.data.length + Math.floor(i / shape.items) * shape.items + ids[i]! - 1;
      ofScores = Math.max(ofScores, Math.abs(scores[i]! - theirs[at]!));
    }
    const { users, maxHistory } = shape;
    const written = `${users}x${maxHistory}x${count}x${shape.dim} of ${shape.items}`;
    rows.push({ model, backend, seed, shape: written, interests: ofInterests, scores: ofScores });
  }
  return rows;
}

const python = join(PEERS_FOLDER, "venv", "bin", "python");
if (!existsSync(python)) throw new Error("There is no PyTorch to compare with: run npm run bench:peers first.");
const dir = await mkdtemp(join(tmpdir(), "prismrec-forwards-"));
const rows: Row[] = [];
try {
  for (const model of MODELS) {
    for (const shape of SHAPES) {
      for (const seed of SEEDS) rows.push(...(await compare(python, dir, model, shape, seed)));
    }
  }
} finally {
  await rm(dir, { recursive: true, force: true });
}
const lines = rows.map(({ model, backend, seed, shape, interests, scores }) =>
  [model, backend, seed, shape, interests.toExponential(2), scores.toExponential(2)].join(","),
);
const csv = `${["model,backend,seed,shape,max_abs_interests,max_abs_scores", ...lines].join("\n")}\n`;
await writeFile(join(benchmarksRoot, "results", "model-forwards.csv"), csv);
process.stdout.write(csv);
const over = rows.filter((row) => !(Math.max(row.interests, row.scores) <= TOLERANCE));
if (over.length > 0) {
  process.stderr.write(`${over.length} of ${rows.length} differ by more than ${TOLERANCE}\n`);
  process.exitCode = 1;
}
