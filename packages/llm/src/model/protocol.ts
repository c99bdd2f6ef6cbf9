/** Messages between an engine's parent and its child processes; plain data over Node's IPC channel. */
export interface ChildOptions {
  readonly modelPath: string;
  readonly threads: number;
  readonly gpu: boolean;
  readonly contextSize: number;
  /** Plain texts that are written at once, each in a sequence of its own. */
  readonly sequences: number;
}

export type ChildTask =
  | { readonly kind: "words"; readonly base: string; readonly words: readonly string[] }
  | {
      readonly kind: "score";
      readonly prefix: string;
      readonly continuation: string;
      readonly tokens: readonly number[];
    }
  | {
      readonly kind: "generate";
      readonly prompt: string;
      readonly chat: boolean;
      readonly system?: string;
      readonly grammar?: string;
      readonly jsonSchema?: Readonly<Record<string, unknown>>;
      readonly maxTokens: number;
      readonly temperature: number;
      readonly seed?: number;
      readonly stop: readonly string[];
    }
  | { readonly kind: "embed"; readonly text: string };

export type ChildRequest = { readonly id: number; readonly task: ChildTask } | { readonly cancel: number };

/** What a task gives: first tokens, log-probabilities, a vector, or a text. */
export interface TaskResult {
  readonly numbers?: readonly number[];
  readonly text?: string;
  readonly promptTokens: number;
  readonly generatedTokens: number;
  readonly seconds: number;
}

export type FailureKind = "unsupported" | "too-long" | "failed";

export type ChildReply =
  | { readonly ready: true }
  | { readonly openFailed: string }
  | { readonly id: number; readonly result: TaskResult }
  | { readonly id: number; readonly failure: FailureKind; readonly message: string };
