import { type Matrix, PrismrecError, type Random } from "@prismrec/core/base";
import { InterestModel } from "@prismrec/core/models";
import {
  type InterestNetwork,
  type ItemTower,
  idTower,
  modelBackend,
  ParameterSet,
  type StoredTensor,
  type TensorBackendName,
  withBackend,
} from "@prismrec/core/nn";
import {
  type AdamState,
  adam,
  adviseLargePages,
  clipScale,
  createAdamState,
  createRowAdamState,
  globalNorm,
  lazyAdam,
  type RowAdamState,
  type RowContribution,
  scatterAddRows,
} from "@prismrec/core/ops";

export interface OptimizerSettings {
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly clipNorm: number;
}

/** Gradient of one step. */
export interface StepGradients {
  /** One array per network parameter that has a gradient. */
  readonly network: ReadonlyMap<string, Float32Array>;
  readonly items: ItemGradient;
  /** [rows of `items`], where the network has an item bias. */
  readonly bias?: Float32Array;
}

/** Gradient with respect to rows of the item table: all of them, or those that a step touched. */
export interface ItemGradient {
  /** Rows of the table, ascending, or undefined: all. */
  readonly rows?: Uint32Array;
  /** [rows, d] */
  readonly data: Float32Array;
}

/**
 * What training changes: the network's parameters, what the item vectors are made of (see `ItemTower`), their bias, and
 * the optimizer's moments of each.
 */
export class Trainable {
  /** The network's, then the tower's. */
  readonly parameters: ParameterSet;
  /** [N, d] the item vectors as the tower gives them. */
  readonly items: Matrix;
  /** [N, d] the tower's own rows; `items` itself where there is nothing else. */
  readonly #table: Matrix | undefined;
  readonly #tower: ItemTower;
  readonly bias: Float32Array | undefined;
  readonly #network: InterestNetwork;
  readonly #moments: ReadonlyMap<string, AdamState>;
  readonly #itemMoments: RowAdamState | undefined;
  readonly #biasMoments: RowAdamState | undefined;
  #updates = 0;

  readonly backend: TensorBackendName;

  /**
   * @param table [N, d] where the item vectors start; changed in place by a tower that has a table
   * @param options.backend where training steps run, and the models made of what they trained
   */
  constructor(
    network: InterestNetwork,
    table: Matrix,
    bias: Float32Array | undefined,
    random: Random,
    options: { readonly backend?: TensorBackendName; readonly tower?: ItemTower } = {},
  ) {
    const { backend = modelBackend(), tower = idTower } = options;
    this.#network = network;
    this.#tower = tower;
    this.backend = backend;
    this.parameters = ParameterSet.create([...network.specs(), ...tower.specs()], random);
    this.#table = tower.hasTable ? table : undefined;
    this.items = tower === idTower ? table : { ...table, data: new Float32Array(table.data.length) };
    this.bias = bias;
    adviseLargePages(table.data);
    this.#project();
    this.#moments = new Map(
      Array.from(this.parameters, ({ name, values }) => [name, createAdamState(values.length)] as const),
    );
    this.#itemMoments = tower.hasTable ? createRowAdamState(table.rows, table.cols) : undefined;
    this.#biasMoments = bias === undefined ? undefined : createRowAdamState(table.rows, 1);
  }

  get updates(): number {
    return this.#updates;
  }

  /**
   * One AdamW step with the gradient clipped by global norm; rows of the item table without a gradient stay as they are.
   *
   * @returns the norm before clipping
   * @throws PrismrecError TRAINING_DIVERGED for a gradient that is not finite; nothing has changed then
   */
  update(gradients: StepGradients, settings: OptimizerSettings): number {
    const { rows: ids, data } = gradients.items;
    const ofTower = withBackend(this.backend, () =>
      this.#tower.differentiate(ids === undefined ? { data } : { ids, data }),
    );
    const all = [...gradients.network.values(), ...ofTower.values()];
    if (this.#table !== undefined) all.push(data);
    if (gradients.bias !== undefined) all.push(gradients.bias);
    const norm = globalNorm(all);
    if (!Number.isFinite(norm)) {
      throw new PrismrecError("TRAINING_DIVERGED", "the gradient is not finite", {
        expected: "a finite gradient norm",
        received: String(norm),
        hint: "Lower optimizer.learningRate.",
      });
    }
    this.#updates++;
    const options = {
      learningRate: settings.learningRate,
      weightDecay: settings.weightDecay,
      step: this.#updates,
      gradientScale: clipScale(norm, settings.clipNorm),
    };
    for (const [name, gradient] of [...gradients.network, ...ofTower]) {
      adam(this.parameters.get(name)!.values, this.#moments.get(name)!, gradient, options);
    }
    const rows = ids ?? everyRow(this.items.rows);
    if (this.#table !== undefined && this.#itemMoments !== undefined) {
      lazyAdam(this.#table, this.#itemMoments, rows, data, options);
    }
    if (gradients.bias !== undefined && this.bias !== undefined && this.#biasMoments !== undefined) {
      const table = { data: this.bias, rows: this.items.rows, cols: 1 };
      lazyAdam(table, this.#biasMoments, rows, gradients.bias, options);
    }
    this.#project();
    return norm;
  }

  /** The item vectors of the tower as it is now. */
  #project(): void {
    if (this.#tower === idTower) return;
    withBackend(this.backend, () => this.#tower.vectors(this.parameters, this.#table, this.items));
  }

  /** Whether every weight is a finite number. */
  isFinite(): boolean {
    const weights = [this.items.data, ...Array.from(this.parameters, ({ values }) => values)];
    if (this.bias !== undefined) weights.push(this.bias);
    return Number.isFinite(globalNorm(weights));
  }

  /** The model as it is now; its memory is its own. */
  snapshot(): InterestModel {
    const parameters = ParameterSet.from(this.#network.specs(), (name) => this.parameters.get(name)?.values.slice());
    const items = { ...this.items, data: this.items.data.slice() };
    return new InterestModel(this.#network, parameters, items, this.bias?.slice(), this.backend);
  }

  /** A model over the very memory that training changes: valid until the next update. */
  current(): InterestModel {
    return new InterestModel(this.#network, this.#own(this.parameters), this.items, this.bias, this.backend);
  }

  /** Copies of what makes the model, by name. */
  *weights(): Generator<readonly [string, StoredTensor]> {
    for (const [name, { shape, data }] of this.tensors()) {
      if (!name.startsWith("moments/")) yield [name, { shape, data: data.slice() }];
    }
  }

  /** Everything by name, for a checkpoint. */
  *tensors(): Generator<readonly [string, StoredTensor]> {
    for (const { name, shape, values } of this.parameters) {
      yield [`parameters/${name}`, { shape, data: values }];
      const { m, v } = this.#moments.get(name)!;
      yield [`moments/${name}/m`, { shape, data: m }];
      yield [`moments/${name}/v`, { shape, data: v }];
    }
    const { rows, cols } = this.items;
    if (this.#table !== undefined && this.#itemMoments !== undefined) {
      yield ["items", { shape: [rows, cols], data: this.#table.data }];
      yield* rowMoments("items", this.#itemMoments, rows, cols);
    }
    if (this.bias === undefined || this.#biasMoments === undefined) return;
    yield ["item-bias", { shape: [rows], data: this.bias }];
    yield* rowMoments("item-bias", this.#biasMoments, rows, 1);
  }

  /**
   * Takes over what `tensors` of a former run gave.
   * @throws PrismrecError CHECKPOINT_INCOMPATIBLE for a missing tensor or another shape; nothing has changed then
   */
  restore(stored: ReadonlyMap<string, StoredTensor>, updates: number): void {
    const own = new Map(this.tensors());
    for (const [name, { shape, data }] of own) {
      const found = stored.get(name);
      if (found?.data.length === data.length && found.data.constructor === data.constructor) continue;
      throw new PrismrecError("CHECKPOINT_INCOMPATIBLE", `the checkpoint does not fit this model: ${name}`, {
        expected: `[${shape.join(", ")}]`,
        received: found === undefined ? "no such tensor" : `[${found.shape.join(", ")}]`,
        hint: "Resume with the configuration the run was started with, or start a new run.",
      });
    }
    for (const [name, { data }] of own) {
      const from = stored.get(name)!.data;
      if (from !== data) data.set(from);
    }
    this.#updates = updates;
    this.#project();
  }

  /**
   * Starts from other weights than new ones: of the parameters those that there are under their name in the same size, the item
   * vectors as they are to come out of the tower, and the bias of the items that have one. The optimizer's moments stay as they
   * are.
   */
  startFrom(given: {
    readonly parameters: ReadonlyMap<string, Float32Array>;
    /** [N * d] */
    readonly vectors: Float32Array;
    readonly bias?: (item: number) => number | undefined;
  }): void {
    for (const { name, values } of this.parameters) {
      const former = given.parameters.get(name);
      if (former?.length === values.length) values.set(former);
    }
    if (this.#table !== undefined) {
      // A tower is linear in its table: what it gives without one is what the table has to make up for.
      this.#table.data.fill(0);
      this.#project();
      const without = this.#tower === idTower ? undefined : this.items.data.slice();
      given.vectors.forEach((value, i) => {
        this.#table!.data[i] = value - (without?.[i] ?? 0);
      });
    }
    this.bias?.forEach((_, item, bias) => {
      bias[item] = given.bias?.(item) ?? bias[item]!;
    });
    this.#project();
  }

  /** The model of stored `weights`; of an empty map the model as it is now. Its memory is its own. */
  modelOf(weights: ReadonlyMap<string, StoredTensor>): InterestModel {
    if (weights.size === 0) return this.snapshot();
    const values = (name: string): Float32Array | undefined => {
      const data = weights.get(name)?.data;
      return data instanceof Float32Array ? data.slice() : undefined;
    };
    const parameters = ParameterSet.from([...this.#network.specs(), ...this.#tower.specs()], (name) =>
      values(`parameters/${name}`),
    );
    const items = { ...this.items, data: values("items") ?? new Float32Array(this.items.data.length) };
    if (this.#tower !== idTower) {
      withBackend(this.backend, () => this.#tower.vectors(parameters, this.#tower.hasTable ? items : undefined, items));
    }
    return new InterestModel(this.#network, this.#own(parameters), items, values("item-bias"), this.backend);
  }

  /** Those of the network: what the tower is made of is in the item vectors. */
  #own(parameters: ParameterSet): ParameterSet {
    return ParameterSet.from(this.#network.specs(), (name) => parameters.get(name)?.values);
  }
}

function* rowMoments(
  name: string,
  { m, v, steps }: RowAdamState,
  rows: number,
  cols: number,
): Generator<readonly [string, StoredTensor]> {
  yield [`moments/${name}/m`, { shape: [rows, cols], data: m }];
  yield [`moments/${name}/v`, { shape: [rows, cols], data: v }];
  yield [`moments/${name}/steps`, { shape: [rows], data: steps }];
}

const everyRowOf = new Map<number, Uint32Array>();

function everyRow(rows: number): Uint32Array {
  const known = everyRowOf.get(rows);
  if (known !== undefined) return known;
  const all = Uint32Array.from({ length: rows }, (_, row) => row);
  everyRowOf.clear();
  everyRowOf.set(rows, all);
  return all;
}

/** Adds sparse contributions to a gradient over the whole table, in place. */
export function addRows(gradient: Matrix, contributions: readonly RowContribution[]): void {
  for (const { ids, data } of contributions) scatterAddRows(gradient, ids, data);
}
