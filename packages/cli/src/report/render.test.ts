import { createHash } from "node:crypto";
import { parseHTML } from "linkedom";
import { describe, expect, it } from "vitest";
import { reportData } from "../testing/report-data.js";
import type { ReportData } from "./data.js";
import { renderReport } from "./render.js";
import { verdict } from "./verdict.js";

const HOSTILE = `</script><script>alert(1)</script><img src=x onerror="alert(2)">'"&\u202e`;

const EMPTY: ReportData["users"] = { total: 0, examples: [], texts: [], users: [] };

/** The sample once, plain and with hostile text wherever data or a model may speak. */
const pages = { plain: renderReport(reportData()), hostile: renderReport(reportData(HOSTILE)) };
const { document } = parseHTML(pages.plain);
const hostile = parseHTML(pages.hostile).document;

describe("renderReport", () => {
  it("says what is gained, whether to believe it, and then all else, in this order", () => {
    const page = pages.plain;
    expect([...document.querySelectorAll("h2")].map(({ textContent }) => textContent)).toEqual([
      "What is gained",
      "Checks",
      "Were the known interests found?",
      "Accuracy on test users",
      "For whom, and for which items",
      "What the lists do to the catalog",
      "Do the named interests fit?",
      "What validation has chosen",
      "What each part gives",
      "Learning curve",
      "Crowd",
      "Test users",
      "Data",
      "How to reproduce",
    ]);
    expect(page.indexOf('class="verdict"')).toBeLessThan(page.indexOf("<h2"));
    const links = [...document.querySelectorAll("nav a")].map((link) => link.getAttribute("href")?.slice(1) ?? "");
    expect(links.map((id) => document.getElementById(id)?.tagName)).toEqual(links.map(() => "SECTION"));
  });

  it("shows the model against the best baseline in every metric, with intervals, and what each metric is", () => {
    const gain = document.getElementById("gain");
    expect(gain?.textContent).toContain("ldmi minus ease, the baseline that is best on the same 100 users");
    // Once for a wide page, once for a narrow one.
    expect([...(gain?.querySelectorAll("svg[role=img]") ?? [])].length).toBe(2);
    for (const [size, label] of [
      ["wide", "+2.70 [+1.70, +3.70]"],
      ["narrow", "+2.7"],
    ]) {
      const texts = [...(gain?.querySelectorAll(`.${size} text`) ?? [])].map(({ textContent }) => textContent);
      expect(texts).toEqual(expect.arrayContaining(["recall@50", label]));
    }
    expect([...(gain?.querySelectorAll("tbody td") ?? [])].map((cell) => cell.textContent)).toEqual([
      "+2.70",
      "+1.70",
      "+3.70",
      ".010",
    ]);
    expect(document.querySelector("#accuracy dl")?.textContent).toBe("recall@Nhits / targets (N = 20, 50)");
  });

  it("puts what failed and what is open first, and folds what passed", () => {
    const [open, folded] = [...document.querySelectorAll("#checks .checks")];
    const states = (list: typeof open): string[] =>
      [...(list?.querySelectorAll(".state") ?? [])].map(({ textContent }) => textContent ?? "");
    expect(new Set(states(open))).toEqual(new Set(["? open"]));
    expect(open?.textContent).toContain("warning of Plain title");
    expect(new Set(states(folded))).toEqual(new Set(["✔ passed"]));
    expect(folded?.parentElement?.tagName).toBe("DETAILS");
    expect(folded?.parentElement?.hasAttribute("open")).toBe(false);
  });

  it("draws each learning curve on an axis of its own, the best epoch marked", () => {
    const figures = [...document.querySelectorAll("#curve figure")];
    expect(figures.map((figure) => figure.querySelector("figcaption")?.textContent)).toEqual([
      "recall@20 22.0 % at epoch 2",
      "recall@50 42.0 % at epoch 2",
      "loss 6.800 at epoch 2",
    ]);
    // The series fills its axis: what is drawn goes over most of the height.
    for (const figure of figures) {
      const path = figure.querySelector("path[d]:not([transform])")?.getAttribute("d") ?? "";
      const heights = [...path.matchAll(/[ML,]?([\d.]+),([\d.]+)/g)].map(([, , y]) => Number(y));
      expect(Math.max(...heights) - Math.min(...heights)).toBeGreaterThan(80);
      expect(figure.querySelectorAll("circle[r='5.5']").length).toBe(1);
    }
  });

  it("repeats what the import guessed and warned of", () => {
    const lines = [...document.querySelectorAll("li")].map((line) => line.textContent ?? "");
    for (const start of ["warning of ", "note of "])
      expect(lines.filter((line) => line.replace(/^. open/, "").startsWith(start)).length).toBe(1);
  });

  it("escapes titles, labels, ids and names: no element or handler comes from data", () => {
    expect(hostile.querySelectorAll("img").length).toBe(0);
    const scripts = [...hostile.querySelectorAll("script")];
    expect(scripts.map((script) => [script.id, script.getAttribute("type")])).toEqual([
      ["report-data", "application/json"],
      ["test-users", "application/json"],
      ["", null],
    ]);
    const handlers = [...hostile.querySelectorAll("*")].flatMap((element) =>
      [...element.attributes].filter(({ name }) => name.startsWith("on")),
    );
    expect(handlers).toEqual([]);
    expect(hostile.querySelector(".item span:nth-child(2)")?.textContent).toBe(HOSTILE);
    expect(hostile.querySelector(".user h3")?.textContent).toBe(`User ${HOSTILE}`);
  });

  it("says how many of the test users are in it", () => {
    const data = reportData();
    expect(document.getElementById("users")?.textContent).toContain("All 3 test users are in this file.");
    expect(renderReport({ ...data, users: { ...data.users, total: 9000 } })).toContain(
      "3 of 9,000 test users, drawn by the run's seed, are in this file, as many as fit",
    );
  });

  it("tells interests that come from behaviour alone", () => {
    const interests = [...document.querySelectorAll(".interest")].map(({ textContent }) => textContent ?? "");
    expect(interests.map((text) => text.includes("from behaviour"))).toEqual([false, true]);
  });

  it("carries its data, fetches nothing and lets no script run but its own", () => {
    const data = reportData(HOSTILE);
    const page = pages.hostile;
    const carried = (id: string): unknown => JSON.parse(hostile.getElementById(id)?.textContent ?? "");
    const { users, ...others } = data;
    expect(carried("report-data")).toEqual(JSON.parse(JSON.stringify(others)));
    expect(carried("test-users")).toEqual(users);
    const policy = hostile.querySelector("meta[http-equiv]")?.getAttribute("content") ?? "";
    expect(policy).toContain("default-src 'none'");
    const script = hostile.querySelector("script:not([type])")?.textContent ?? "";
    const hash = createHash("sha256").update(script).digest("base64");
    expect(policy.match(/script-src (.*)$/)?.[1]).toBe(`'sha256-${hash}'`);
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

  it("says what each part gives where an ablation is there, and how to come by one where it is not", () => {
    const section = document.getElementById("ablation");
    const rows = [...(section?.querySelectorAll("tbody tr") ?? [])].map((row) =>
      [...row.querySelectorAll("th,td")].map(({ textContent }) => textContent),
    );
    expect(rows).toEqual([
      ["ldmithe whole method", "2", "46.15 ± 0.05", ""],
      ["no-crowdwithout the crowd contrast", "2", "45.15 ± 0.05", "+1.00 ± 0.00"],
      ["shuffledcontrol: cluster members permuted inside each history", "2", "40.15 ± 0.05", "+6.00 ± 0.00"],
    ]);
    expect(renderReport({ ...reportData(), ablation: undefined })).toContain("prismrec ablate RUN");
  });

  it("says what was chosen against what, and marks it", () => {
    const section = [...document.querySelectorAll("section")].find((one) =>
      one.textContent?.startsWith("What validation has chosen"),
    );
    expect(section?.querySelector("p")?.textContent).toBe("Settings: no crowd. ldmi is served with ease, weight 0.5.");
    const rows = [...(section?.querySelectorAll("tr.own") ?? [])].map((row) => row.textContent);
    expect(rows).toEqual(["no crowd74.00+3.10 ± 1.201.00", "ease, weight 0.578.00+4.00 ± 1.00"]);
    expect(section?.textContent).toContain("dropout <.5>–");
    const data = reportData();
    const prior = { ...data.prior!, chosen: null };
    expect(renderReport({ ...data, tuning: undefined, prior })).toContain("ldmi is served without a prior.");
  });

  it("leaves out what a run does not have", () => {
    const { recovery: _, ...evaluation } = reportData().evaluation;
    const silent = { ...evaluation, exposure: {}, explanations: {}, comparisons: {} };
    const none = { crowd: undefined, curve: undefined, tuning: undefined, prior: undefined, ablation: undefined };
    const page = renderReport({ ...reportData(), ...none, evaluation: silent, users: EMPTY });
    const { document } = parseHTML(page);
    for (const id of ["gain", "twins", "catalog", "explanations", "choices", "ablation", "curve", "users"]) {
      expect([id, document.getElementById(id)]).toEqual([id, null]);
    }
    expect(page).not.toContain("<script>");
    expect(page).toContain("This run has no crowd level.");
  });
});

describe("verdict", () => {
  const { evaluation } = reportData();

  it("names the gap to the best baseline where the interval allows it", () => {
    expect(verdict(evaluation)).toBe(
      "ldmi finds 46.5 % of what test users took next within its first 50: 2.7 points more than ease, the best baseline (43.8 %).",
    );
  });

  it("calls nothing that the interval does not", () => {
    const near = { mean: 0.01, low: -0.02, high: 0.04, standardError: 0.015, notBetter: 0.3 };
    const unclear = { ...evaluation, comparisons: { ease: { "recall@50": near } } };
    expect(verdict(unclear)).toMatch(
      /100 test users show no difference from ease, .*43\.8 %; \+1\.0 points, anything from −2\.0 to \+4\.0/,
    );
    const below = { ...near, mean: -0.05, low: -0.08, high: -0.02 };
    expect(verdict({ ...evaluation, comparisons: { ease: { "recall@50": below } } })).toContain(
      "5.0 points less than ease",
    );
  });
});
