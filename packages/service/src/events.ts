import { PrismrecError } from "@prismrec/core/errors";
import { checkEvent, type HistoryEvent } from "@prismrec/core/recommend";
import { damaged, Journal } from "./journal.js";
import { validationError } from "./problems.js";
import { type EventBody, eventSchema } from "./schemas.js";

/** What became of each event of one request. */
export interface Recorded {
  readonly accepted: number;
  readonly repeated: number;
  readonly rejected: readonly { readonly index: number; readonly error: unknown }[];
}

interface Known {
  readonly event: EventBody;
  /** Of the writing, while it is under way. */
  written: Promise<void> | undefined;
}

/** What users have done since the model's log was written: held in memory, and on the disk before it counts. */
export class EventStore {
  readonly #known = new Map<string, Known>();
  readonly #histories = new Map<string, HistoryEvent[]>();

  private constructor(private readonly journal: Journal | undefined) {}

  /** @param path of the journal; undefined: events are refused */
  static async open(path: string | undefined): Promise<EventStore> {
    if (path === undefined) return new EventStore(undefined);
    const lines: EventBody[] = [];
    const journal = await Journal.open(path, (value, line) => {
      const event = eventSchema.safeParse(value);
      if (!event.success) throw damaged(path, line, event.error.issues[0]?.message ?? "no event");
      lines.push(event.data);
    });
    const store = new EventStore(journal);
    for (const event of lines) {
      store.#known.set(event.id, { event, written: undefined });
      store.#add(event);
    }
    return store;
  }

  /** How many events are held. */
  get size(): number {
    return this.#known.size;
  }

  /** Bytes of an event that was never acknowledged, cut off the journal at the start. */
  get torn(): number {
    return this.journal?.torn ?? 0;
  }

  /** A user's events, in the order in which they were received. */
  of(user: string): readonly HistoryEvent[] {
    return this.#histories.get(user) ?? [];
  }

  /**
   * Resolves once all that is accepted is on the disk.
   *
   * @param sent as received; each is checked by itself
   * @param hasItem whether the catalog has an item
   * @throws PrismrecError MODEL_UNSUPPORTED without a journal; IO, DISK_FULL: none of them counts then
   */
  async record(sent: readonly unknown[], hasItem: (id: string) => boolean, now: Date): Promise<Recorded> {
    const { journal } = this;
    if (journal === undefined) {
      throw new PrismrecError("MODEL_UNSUPPORTED", "this service takes no events", {
        expected: "a service with a journal",
        received: "one that was started without",
        hint: "Start it with --events FILE.",
      });
    }
    const rejected: { index: number; error: unknown }[] = [];
    const fresh = new Map<string, EventBody>();
    const waited: Promise<void>[] = [];
    let repeated = 0;
    for (const [index, value] of sent.entries()) {
      try {
        const event = readEvent(value, index, hasItem);
        const known = this.#known.get(event.id);
        const same = known?.event ?? fresh.get(event.id);
        if (same === undefined) {
          fresh.set(event.id, { time: now.toISOString(), ...event });
          continue;
        }
        checkSame(same, event);
        if (known?.written !== undefined) waited.push(known.written);
        repeated++;
      } catch (error) {
        rejected.push({ index, error });
      }
    }
    const events = [...fresh.values()];
    const written = journal.append(events);
    const entries = events.map((event): Known => ({ event, written }));
    for (const entry of entries) this.#known.set(entry.event.id, entry);
    try {
      await written;
    } catch (error) {
      for (const { event } of entries) this.#known.delete(event.id);
      throw error;
    }
    for (const entry of entries) {
      entry.written = undefined;
      this.#add(entry.event);
    }
    // An event that another request is still writing is not known to be kept before that one ends.
    await Promise.all(waited);
    return { accepted: events.length, repeated, rejected };
  }

  async close(): Promise<void> {
    await this.journal?.close();
  }

  #add({ user, item, event, time }: EventBody): void {
    const history = this.#histories.get(user) ?? [];
    this.#histories.set(user, history);
    history.push({
      item,
      ...(event === undefined ? {} : { event }),
      ...(time === undefined ? {} : { time }),
    });
  }
}

function readEvent(value: unknown, index: number, hasItem: (id: string) => boolean): EventBody {
  const parsed = eventSchema.safeParse(value);
  if (!parsed.success) throw validationError(parsed.error, value, ["events", String(index)]);
  const { item, time } = parsed.data;
  checkEvent({ item, ...(time === undefined ? {} : { time }) });
  if (hasItem(item)) return parsed.data;
  throw new PrismrecError("UNKNOWN_ITEM", `there is no item ${item} in the catalog`, {
    expected: "an item of the catalog",
    received: item,
    hint: "Events of new items can be sent once a model that knows them is served.",
  });
}

/** An id stands for one event; a time that the service gave is not the client's to repeat. */
function checkSame(known: EventBody, again: EventBody): void {
  const same = (["user", "item", "event"] as const).every((name) => known[name] === again[name]);
  if (same && (again.time === undefined || again.time === known.time)) return;
  throw new PrismrecError("INVALID_ARGUMENT", `the id ${again.id} is that of another event`, {
    expected: `${known.user}, ${known.item}${known.event === undefined ? "" : `, ${known.event}`}`,
    received: `${again.user}, ${again.item}${again.event === undefined ? "" : `, ${again.event}`}`,
    hint: "Give each event an id of its own, and the same one when it is sent again.",
  });
}
