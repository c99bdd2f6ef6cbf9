import { parseHTML } from "linkedom";
import { describe, expect, it } from "vitest";
import { reportData } from "../testing/report-data.js";
import { spread } from "./charts.js";
import { renderReport } from "./render.js";
import { verdict } from "./verdict.js";

const HOSTILE = `</script><script>alert(1)</script><img src=x onerror="alert(2)">'"&\u202e`;

describe("renderReport", () => {
  it("says the verdict, the table, the curves, the recovery, the users and how to reproduce, in this order", () => {
    const page = renderReport(reportData());
    const places = [
      'class="verdict"',
      "Accuracy on test users",
      "What the lists do to the catalog",
      "Do the named interests fit?",
      "What validation has chosen",
      "Learning curve",
      "Crowd",
      "Were the known interests found?",
      "Two users",
      "Can the numbers be trusted?",
      "How to reproduce",
      'type="application/json"',
    ].map((text) => page.indexOf(text));
    expect(places.every((place) => place > 0)).toBe(true);
    expect([...places].sort((a, b) => a - b)).toEqual(places);
    expect(parseHTML(page).document.querySelectorAll("figure svg").length).toBe(3);
  });

  it("repeats what the import guessed and warned of", () => {
    const { document } = parseHTML(renderReport(reportData()));
    const lines = [...document.querySelectorAll("li")].map((line) => line.textContent ?? "");
    for (const start of ["warning of ", "note of "])
      expect(lines.filter((line) => line.startsWith(start)).length).toBe(1);
  });

  it("escapes titles, labels, ids and names: no element or handler comes from data", () => {
    const { document } = parseHTML(renderReport(reportData(HOSTILE)));
    expect(document.querySelectorAll("img").length).toBe(0);
    const scripts = [...document.querySelectorAll("script")];
    expect(scripts.map((script) => script.getAttribute("type"))).toEqual(["application/json"]);
    const handlers = [...document.querySelectorAll("*")].flatMap((element) =>
      [...element.attributes].filter(({ name }) => name.startsWith("on")),
    );
    expect(handlers).toEqual([]);
    expect(document.querySelector(".item span:nth-child(2)")?.textContent).toBe(HOSTILE);
  });

  it("tells interests that come from behaviour alone", () => {
    const { document } = parseHTML(renderReport(reportData()));
    const interests = [...document.querySelectorAll(".interest")].map(({ textContent }) => textContent ?? "");
    expect(interests.map((text) => text.includes("from behaviour"))).toEqual([false, true]);
  });

  it("carries its data, fetches nothing and forbids scripts", () => {
    const data = reportData(HOSTILE);
    const page = renderReport(data);
    const { document } = parseHTML(page);
    expect(JSON.parse(document.querySelector("#data")?.textContent ?? "")).toEqual(JSON.parse(JSON.stringify(data)));
    const policy = document.querySelector("meta[http-equiv]")?.getAttribute("content");
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toContain("script-src");
    const addresses = [...page.matchAll(/(?:https?:)?\/\/[a-z0-9.-]+\.[a-z]{2,}[^"'\s<]*/gi)].map(
      ([address]) => address,
    );
    expect(addresses.filter((address) => !address.startsWith("http://www.w3.org/"))).toEqual([]);
    expect(page).not.toMatch(/<link|@import|url\(/);
  });

  it("stays under a megabyte with a long curve and a large crowd", () => {
    const data = reportData();
    const { curve: course } = data;
    if (course === undefined) throw new Error("the sample has a curve");
    const curve = Array.from({ length: 200 }, (_, i) => ({ ...course.curve[0]!, epoch: i + 1 }));
    const coverage = Array.from({ length: 5000 }, (_, i) => (i + 1) / 5000);
    const page = renderReport({
      ...data,
      curve: { ...course, curve },
      crowd: { coverage, bound: 1, candidates: 90_000 },
    });
    expect(page.length).toBeLessThan(1_000_000);
  });

  it("says what was chosen against what, and marks it", () => {
    const { document } = parseHTML(renderReport(reportData()));
    const section = [...document.querySelectorAll("section")].find((one) =>
      one.textContent?.startsWith("What validation has chosen"),
    );
    expect(section?.querySelector("p")?.textContent).toBe("Settings: no crowd. ldmi is served with ease, weight 0.5.");
    const rows = [...(section?.querySelectorAll("tr.own") ?? [])].map((row) => row.textContent);
    expect(rows).toEqual(["no crowd74.003.10 ± 1.201.00", "ease, weight 0.578.004.00 ± 1.00"]);
    expect(section?.textContent).toContain("dropout <.5>–");
    const data = reportData();
    const prior = { ...data.prior!, chosen: null };
    expect(renderReport({ ...data, tuning: undefined, prior })).toContain("ldmi is served without a prior.");
  });

  it("leaves out what a run does not have", () => {
    const { recovery: _, ...evaluation } = reportData().evaluation;
    const silent = { ...evaluation, exposure: {}, explanations: {} };
    const none = { crowd: undefined, curve: undefined, tuning: undefined, prior: undefined };
    const page = renderReport({ ...reportData(), ...none, evaluation: silent, users: [] });
    expect(page).not.toContain("What validation has chosen");
    expect(page).not.toContain("What the lists do to the catalog");
    expect(page).not.toContain("Do the named interests fit?");
    expect(page).not.toContain("Learning curve");
    expect(page).not.toContain("Were the known interests found?");
    expect(page).not.toContain("Two users");
    expect(page).toContain("This run has no crowd level.");
  });
});

describe("verdict", () => {
  const { evaluation } = reportData();

  it("names the gap to the best baseline where the interval allows it", () => {
    expect(verdict(evaluation)).toBe(
      "ldmi finds 46.5 % of what test users took next within its first 50, 2.7 points above ease, the best baseline.",
    );
  });

  it("calls nothing that the interval does not", () => {
    const near = { mean: 0.01, low: -0.02, high: 0.04, standardError: 0.015, notBetter: 0.3 };
    const unclear = { ...evaluation, comparisons: { ease: { "recall@50": near } } };
    expect(verdict(unclear)).toContain("too close to ease (43.8 %)");
    const below = { ...near, mean: -0.05, low: -0.08, high: -0.02 };
    expect(verdict({ ...evaluation, comparisons: { ease: { "recall@50": below } } })).toContain(
      "5.0 points below ease",
    );
  });
});

describe("spread", () => {
  it("keeps labels apart and in order, and moves none that has room", () => {
    const at = (value: number, metric: string) => ({ epoch: 1, metric, value });
    const moved = spread([at(12, "b"), at(11.5, "a"), at(30, "c")], 2);
    expect(moved.map(({ metric, value }) => [metric, value])).toEqual([
      ["a", 11.5],
      ["b", 13.5],
      ["c", 30],
    ]);
  });
});
