export type TrainEvent =
  | {
      readonly type: "start";
      readonly epoch: number;
      readonly step: number;
      readonly resumed: boolean;
      /** It goes on from a former training. */
      readonly warm: boolean;
      /** Where losses and validation run, and for "auto" on the processor: why not on a GPU. */
      readonly device: "cpu" | "cuda";
      readonly reason?: string;
    }
  | {
      readonly type: "step";
      readonly epoch: number;
      readonly step: number;
      /** Steps of the epoch done, and to do. */
      readonly done: number;
      readonly total: number;
      readonly loss: number;
    }
  | ({ readonly type: "epoch"; readonly seconds: number } & EpochRecord)
  | { readonly type: "checkpoint"; readonly step: number; readonly path: string };

/** One line of the learning curve. */
export interface EpochRecord {
  readonly epoch: number;
  readonly step: number;
  readonly loss: number;
  /** Mean of each term of the loss. */
  readonly parts: Readonly<Record<string, number>>;
  /** Validation metrics, fractions. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Largest gradient norm of the epoch, before clipping. */
  readonly gradientNorm: number;
  /** True where this epoch is the best so far. */
  readonly best: boolean;
}
