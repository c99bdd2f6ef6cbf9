import { join } from "node:path";
import { writeJsonAtomic } from "@prismrec/core/base";
import type { CrowdSet } from "@prismrec/core/data";
import { crowdRequests, crowdSet, type SynthesizedCrowd, synthesizeCrowd } from "@prismrec/trainer";
import { z } from "zod";
import { settingsSchema } from "../config/schema.js";
import { count, percent } from "../format.js";
import { type Clustered, clusterStage } from "./cluster.js";
import { importStage } from "./import.js";
import { modelOf } from "./models.js";
import { readDocument } from "./read-document.js";
import { defineStage, type StageOutput } from "./stage.js";
import { readArrays, writeArrays } from "./tensors.js";

/** 2: synthesized users are asked about by their content. */
const VERSION = 2;
const REPORT = "crowd.json";
const ARRAYS = "crowd.safetensors";

const reportSchema = z.object({
  fingerprint: z.string(),
  /** Covered share of all that the candidates could cover, after each pick. */
  coverage: z.array(z.number()),
  gains: z.array(z.number()),
  coverageBound: z.number(),
  candidates: z.int(),
  labels: z.array(z.array(z.string())),
});
export type CrowdReport = z.infer<typeof reportSchema>;

export interface Crowded extends StageOutput {
  /** undefined where the run has no crowd level. */
  readonly crowd: CrowdSet | undefined;
  readonly report: CrowdReport | undefined;
}

const settings = settingsSchema.pick({ crowd: true, seed: true, model: true, baselines: true });
type CrowdSettings = z.infer<typeof settings>;

/** Synthesizes the crowd from training users and splits its users' items into interests. */
export const crowdStage = defineStage<Crowded, typeof settings>({
  name: "crowd",
  summary: "merges similar training users into a few synthesized ones, chosen by max cover",
  version: VERSION,
  command: "crowd",
  reads: [importStage, clusterStage],
  settings,
  async plan(context) {
    const { crowd, seed } = context.settings;
    const active = isActive(context.settings, await context.open(clusterStage));
    return { config: { ...crowd, enabled: active }, seed };
  },
  async run(context, dir) {
    const clustered = await context.open(clusterStage);
    if (!isActive(context.settings, clustered)) return writeJsonAtomic(join(dir, REPORT), null);
    const { dataset } = await context.open(importStage);
    const { enabled: _, ...config } = context.settings.crowd;
    const synthesized = await synthesizeCrowd(dataset, { seed: context.settings.seed, ...config }, context.options);
    await using source = await clustered.openClusterer();
    const partitions = await source.clusterer.partition(crowdRequests(synthesized), context.options);
    await save(dir, synthesized, crowdSet(synthesized, partitions));
  },
  open: (_context, finished) => load(finished),
  async describe(_context, { report }) {
    if (report === undefined) return { summary: "none" };
    const { coverage, candidates } = report;
    return {
      summary:
        `${count(coverage.length)} synthesized users of ${count(candidates)} candidates cover ` +
        percent(coverage.at(-1) ?? 0),
    };
  },
});

/** Whether there is a crowd: it is asked for, somebody splits it into interests, and a model of the run learns from it. */
function isActive({ crowd, model, baselines }: CrowdSettings, { choice }: Clustered): boolean {
  const models = [model, ...baselines].map(modelOf);
  return crowd.enabled && choice.clusterer !== undefined && models.some(({ reads }) => reads.includes("crowd"));
}

async function save(dir: string, synthesized: SynthesizedCrowd, crowd: CrowdSet): Promise<void> {
  const memberEnds = new Uint32Array(crowd.members.length + 1);
  crowd.members.forEach((members, s) => {
    memberEnds[s + 1] = memberEnds[s]! + members.length;
  });
  await writeArrays(join(dir, ARRAYS), {
    indptr: crowd.indptr,
    items: crowd.items,
    clusters: crowd.clusters,
    memberEnds,
    members: Uint32Array.from(crowd.members.flatMap((members) => [...members])),
  });
  await writeJsonAtomic(join(dir, REPORT), {
    fingerprint: crowd.fingerprint,
    coverage: [...synthesized.coverage],
    gains: [...synthesized.gains],
    coverageBound: synthesized.coverageBound,
    candidates: synthesized.candidates,
    labels: crowd.labels.map((labels) => [...labels]),
  } satisfies CrowdReport);
}

async function load({ dir, fingerprint }: StageOutput): Promise<Crowded> {
  const report = await readDocument(join(dir, REPORT), reportSchema.nullable(), "Run the crowd stage again.");
  if (report === null) return { dir, fingerprint, crowd: undefined, report: undefined };
  const arrays = await readArrays(join(dir, ARRAYS));
  const memberEnds = arrays.get("memberEnds", Uint32Array);
  const members = arrays.get("members", Uint32Array);
  return {
    dir,
    fingerprint,
    report,
    crowd: {
      fingerprint: report.fingerprint,
      indptr: arrays.get("indptr", Uint32Array),
      items: arrays.get("items", Uint32Array),
      clusters: arrays.get("clusters", Int16Array),
      labels: report.labels,
      members: report.labels.map((_, s) => members.subarray(memberEnds[s], memberEnds[s + 1])),
    },
  };
}
