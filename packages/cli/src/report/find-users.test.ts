import fc from "fast-check";
import { parseHTML } from "linkedom";
import { describe, expect, it } from "vitest";
import { findUsers, type PageDocument } from "./find-users.js";
import { type ReportUser, UserTableBuilder } from "./user-table.js";

const user = (id: string, label: string, title = "Title"): ReportUser => ({
  id,
  events: 1200,
  targets: 1,
  interests: [{ index: 7, kind: "semantic", labels: [label], share: 0.5, because: [title] }],
  items: [
    { title, interest: 7, hit: true },
    { title: "Other", interest: null, hit: false },
  ],
});

function pageOf(users: readonly ReportUser[], bytes = 100_000) {
  const table = new UserTableBuilder(bytes);
  for (const [order, one] of users.entries()) table.add(one, { order, example: order === 0 });
  const { document, Event } = parseHTML(
    `<!doctype html><body><input id="user-search"><span id="user-status"></span><ul id="user-matches"></ul><div id="user-cards"></div></body>`,
  );
  const built = table.build(users.length);
  findUsers(document as unknown as PageDocument, built, 8);
  const input = document.getElementById("user-search") as unknown as { value: string; dispatchEvent(e: object): void };
  return {
    table: built,
    document,
    type(text: string) {
      input.value = text;
      input.dispatchEvent(new Event("input"));
      return [...document.querySelectorAll("#user-matches button")].map(({ textContent }) => textContent);
    },
    enter: () => input.dispatchEvent(Object.assign(new Event("keydown"), { key: "Enter" })),
    status: () => document.getElementById("user-status")?.textContent,
    shown: () => [...document.querySelectorAll(".user h3")].map(({ textContent }) => textContent),
  };
}

describe("findUsers", () => {
  it("shows the examples first, then whoever is asked for", () => {
    const page = pageOf([user("u1", "Baking"), user("u2", "Chess")]);
    expect(page.shown()).toEqual(["User u1"]);
    expect(page.type("u2")).toEqual(["u2"]);
    expect(page.status()).toBe("1 user found.");
    (page.document.querySelector("#user-matches button") as unknown as { click(): void }).click();
    expect(page.shown()).toEqual(["User u2"]);
    const card = page.document.querySelector(".user")?.textContent;
    expect(card).toContain("1,200 events read · took 1 item next, 1 of them among the 2 below");
    expect(card).toContain("Chess50 %Title");
    const badges = [...page.document.querySelectorAll(".item")].map(
      (item) => item.querySelector(".badge")?.textContent,
    );
    expect(badges).toEqual(["1", undefined]);
  });

  it("finds every user by the exact id first, then its beginning, then any part, then an interest", () => {
    const page = pageOf([user("x12", "Go"), user("125", "Go"), user("7", "Set of 12"), user("12", "Go")]);
    expect(page.type("12")).toEqual(["12", "125", "x12", "7"]);
    page.enter();
    expect(page.shown()).toEqual(["User 12"]);
    expect(page.type("SET OF")).toEqual(["7"]);
    expect(page.type("nobody")).toEqual([]);
    expect(page.status()).toBe("0 users found.");
    expect(page.type(" ")).toEqual([]);
    expect(page.status()).toBe("");
  });

  it("lists some of many and says how many there are", () => {
    const page = pageOf(Array.from({ length: 60 }, (_, n) => user(`u${n}`, "Go")));
    expect(page.type("u").length).toBe(24);
    expect(page.status()).toBe("60 users found, the first 24 are listed.");
  });

  it("shows the list alone where the model has no interests, and small shares as what they are", () => {
    const none = pageOf([{ ...user("u1", "Go"), interests: [] }]);
    expect(none.document.querySelector(".columns")).toBeNull();
    expect(none.document.querySelector(".user")?.textContent).not.toContain("Interests");
    const [interest] = user("u1", "Go").interests;
    const small = pageOf([{ ...user("u1", "Go"), interests: [{ ...interest!, share: 0.004 }] }]);
    expect(small.document.querySelector(".interest")?.textContent).toContain("< 1 %");
  });

  it("makes no element of any text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 30 }), (text) => {
        const page = pageOf([user(text, text, text)]);
        const names = [...parseHTML(page.document.toString()).document.querySelectorAll(".user *")];
        expect(names.length).toBe([...page.document.querySelectorAll(".user *")].length);
      }),
      { numRuns: 15 },
    );
  });
});

describe("UserTableBuilder", () => {
  it("stops where the bytes end, and leaves no text of whom it did not take", () => {
    const table = new UserTableBuilder(150);
    const taken = ["a", "b", "c", "d"].map((id, order) =>
      table.add(user(id, `Label ${id}`), { order, example: false }),
    );
    expect(taken).toEqual([true, true, false, false]);
    const built = table.build(4);
    expect(built.users.map(([id]) => id)).toEqual(["a", "b"]);
    expect(built.texts).toEqual(["Label a", "Title", "Other", "Label b"]);
    expect(Buffer.byteLength(JSON.stringify([built.users, built.texts]))).toBeLessThanOrEqual(150);
  });
});
