/** The addon's surface, one section per op, headed by the name of the C++ contract header. */
export interface NativeBinding {
  readonly [op: string]: unknown;
}

/** Loads the addon; throws an Error whose message says what was looked for and what went wrong. */
export declare function loadBinding(): NativeBinding;
