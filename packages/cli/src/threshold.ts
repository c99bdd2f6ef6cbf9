export interface Threshold {
  readonly metric: string;
  /** A fraction. */
  readonly value: number;
}

/** The command did its work, and the result is below what was demanded of it. */
export class ThresholdMissed extends Error {
  override readonly name = "ThresholdMissed";
  constructor({ metric, value }: Threshold, reached: number | undefined) {
    super(
      reached === undefined
        ? `${metric} was not measured, so it cannot reach ${value}`
        : `${metric} of ldmi is ${reached.toFixed(4)}, below ${value}`,
    );
  }
}
