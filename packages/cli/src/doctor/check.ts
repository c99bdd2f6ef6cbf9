/** What one look at the machine found. */
export interface Check {
  readonly name: string;
  /** `ok`: works; `missing`: works without it, less well; `failed`: must be put right. */
  readonly status: "ok" | "missing" | "failed";
  readonly text: string;
  /** What to do about it. */
  readonly remedy?: string;
}
