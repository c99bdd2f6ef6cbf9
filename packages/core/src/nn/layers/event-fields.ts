import type { TextColumn } from "../../data/columns.js";

/** What a network may read of an event beside its item and its semantic cluster. */
export type EventField = "behaviour" | "time" | "weight";

/** The fields of a batch's events, newest first as its items are; those that the network reads. */
export interface EventFields {
  /** [B * T] place of the kind in the network's `behaviours`; 0: not known, or padding. */
  readonly behaviours?: Uint32Array;
  /** [B * T] in the log's unit; NaN: not known, or padding. */
  readonly times?: Float64Array;
  /** [B * T] rating or quantity; NaN: not known, or padding. */
  readonly weights?: Float32Array;
}

/** Where the fields of events stand: a log, a history, training sequences. */
export interface EventSource {
  readonly behaviours?: TextColumn;
  readonly times?: BigInt64Array;
  readonly weights?: Float32Array;
}

/** What a network says of the fields that it reads. */
export interface FieldReader {
  /** Absent: none. */
  readonly eventFields?: readonly EventField[];
  /** The kinds of events that it tells apart, in the order of its own parameters; entry 0 stands for all others. */
  readonly behaviours?: readonly string[];
}

/** Fills the fields of a batch, event by event; undefined where the network reads none. */
export class FieldPacker {
  readonly fields: EventFields;
  readonly #kinds: ReadonlyMap<string, number>;
  /** Codes of a source's dictionary as the network's own. */
  readonly #codes = new WeakMap<readonly string[], Uint32Array>();

  private constructor({ eventFields = [], behaviours = [] }: FieldReader, events: number) {
    const wanted = new Set(eventFields);
    this.#kinds = new Map(behaviours.flatMap((name, code) => (code === 0 ? [] : [[name, code] as const])));
    this.fields = {
      ...(wanted.has("behaviour") ? { behaviours: new Uint32Array(events) } : {}),
      ...(wanted.has("time") ? { times: new Float64Array(events).fill(Number.NaN) } : {}),
      ...(wanted.has("weight") ? { weights: new Float32Array(events).fill(Number.NaN) } : {}),
    };
  }

  /** @param events B * T */
  static of(network: FieldReader, events: number): FieldPacker | undefined {
    return (network.eventFields ?? []).length === 0 ? undefined : new FieldPacker(network, events);
  }

  /** Writes event `from` of a source to `place` of the batch. */
  put(place: number, source: EventSource, from: number): void {
    const { behaviours, times, weights } = this.fields;
    if (behaviours !== undefined && source.behaviours !== undefined) {
      const { dictionary, codes } = source.behaviours;
      behaviours[place] = this.#codesOf(dictionary)[codes[from]!]!;
    }
    if (times !== undefined && source.times !== undefined) times[place] = Number(source.times[from]);
    if (weights !== undefined && source.weights !== undefined) weights[place] = source.weights[from]!;
  }

  #codesOf(dictionary: readonly string[]): Uint32Array {
    let codes = this.#codes.get(dictionary);
    if (codes === undefined) {
      codes = Uint32Array.from(dictionary, (name) => this.#kinds.get(name) ?? 0);
      this.#codes.set(dictionary, codes);
    }
    return codes;
  }
}
