/** Test users in as few bytes as JSON allows: titles and labels stand once, and are referred to by their place. */
export interface UserTable {
  /** Test users that there are; the table holds as many as fit. */
  readonly total: number;
  /** Places in `users` of those that are shown first. */
  readonly examples: readonly number[];
  readonly texts: readonly string[];
  readonly users: readonly UserRow[];
}

/** id, events that were read, items taken next, interests, items recommended. */
export type UserRow = readonly [
  id: string,
  events: number,
  targets: number,
  interests: readonly InterestRow[],
  /** Of each item two numbers: its title, and twice the place of its interest among these (from 1; 0: none), one more for a hit. */
  items: readonly number[],
];

/** 1 for one from behaviour alone; its share in thousandths; labels and items that it rests on. */
export type InterestRow = readonly [
  behaviour: 0 | 1,
  share: number,
  labels: readonly number[],
  because: readonly number[],
];

/** One interest of a user: what it is called, how much it weighs, what it rests on. */
export interface ReportInterest {
  readonly index: number;
  readonly kind: "semantic" | "collaborative";
  readonly labels: readonly string[];
  readonly share: number;
  /** A few titles of the history that belong to it. */
  readonly because: readonly string[];
}

export interface ReportUser {
  readonly id: string;
  readonly events: number;
  /** Items that the user took next. */
  readonly targets: number;
  /** As the recommender gives them: no two are called the same. */
  readonly interests: readonly ReportInterest[];
  readonly items: readonly { readonly title: string; readonly interest: number | null; readonly hit: boolean }[];
}

/** Collects users until their bytes are used up. */
export class UserTableBuilder {
  readonly #places = new Map<string, number>();
  readonly #rows: { readonly order: number; readonly row: UserRow; readonly example: boolean }[] = [];
  #left: number;

  /** @param bytes of UTF-8 that users, titles and labels may take together */
  constructor(bytes: number) {
    this.#left = bytes;
  }

  /** Takes a user in, unless that were too much: false, and nothing is taken. */
  add(user: ReportUser, { order, example }: { readonly order: number; readonly example: boolean }): boolean {
    const before = this.#places.size;
    const row = this.#rowOf(user);
    const added = [...this.#places.keys()].slice(before);
    const size = [row, ...added].reduce((sum: number, part) => sum + Buffer.byteLength(JSON.stringify(part)) + 1, 0);
    if (size > this.#left) {
      for (const text of added) this.#places.delete(text);
      return false;
    }
    this.#left -= size;
    this.#rows.push({ order, row, example });
    return true;
  }

  /** @param total test users that there are */
  build(total: number): UserTable {
    const rows = [...this.#rows].sort((a, b) => a.order - b.order);
    return {
      total,
      examples: rows.flatMap(({ example }, place) => (example ? [place] : [])),
      texts: [...this.#places.keys()],
      users: rows.map(({ row }) => row),
    };
  }

  #rowOf({ id, events, targets, interests, items }: ReportUser): UserRow {
    const places = new Map(interests.map(({ index }, place) => [index, place + 1]));
    return [
      visible(id),
      events,
      targets,
      interests.map(({ kind, share, labels, because }) => [
        kind === "collaborative" ? 1 : 0,
        Math.round(1000 * share),
        labels.map((label) => this.#place(label)),
        because.map((title) => this.#place(title)),
      ]),
      items.flatMap(({ title, interest, hit }) => {
        const place = interest === null ? 0 : (places.get(interest) ?? 0);
        return [this.#place(title), 2 * place + (hit ? 1 : 0)];
      }),
    ];
  }

  #place(text: string): number {
    const shown = visible(text);
    const known = this.#places.get(shown);
    if (known !== undefined) return known;
    this.#places.set(shown, this.#places.size);
    return this.#places.size - 1;
  }
}

/** Control characters, which HTML does not allow, made visible. */
export function visible(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]/gu, "\ufffd");
}
