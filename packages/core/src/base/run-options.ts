export type DevicePreference = "cpu" | "cuda" | "auto";

export interface Progress {
  readonly stage: string;
  readonly done: number;
  readonly total?: number;
  readonly unit: string;
  /** Short free text beside the bar, e.g. "loss 2.31". */
  readonly note?: string;
}

/** Every long call takes these. An aborted signal rejects with `signal.reason`, never with a PrismrecError. */
export interface RunOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
}
