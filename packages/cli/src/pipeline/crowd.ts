import { join } from "node:path";
import { PrismrecError, readJson, type StageSpec, writeJsonAtomic } from "@prismrec/core/base";
import type { CrowdSet } from "@prismrec/core/data";
import { crowdRequests, crowdSet, type SynthesizedCrowd, synthesizeCrowd } from "@prismrec/trainer";
import { z } from "zod";
import { count, percent } from "../terminal/format.js";
import { type Clustered, type ClusterStage, openRunClusterer } from "./cluster.js";
import type { Imported } from "./import.js";
import { announce, type Pipeline, requireStage, runOptions, runStage, type StageOutput } from "./pipeline.js";
import { readArrays, writeArrays } from "./tensors.js";

const NAME = "crowd";
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

/** Synthesizes the crowd from training users and splits its users' items into interests. */
export async function runCrowd(pipeline: Pipeline, imported: Imported, clustered: Clustered): Promise<Crowded> {
  const { settings } = pipeline;
  const { enabled: _, ...config } = settings.crowd;
  const output = await runStage(pipeline, NAME, crowdSpec(pipeline, imported, clustered), async (dir) => {
    if (!isActive(pipeline, clustered)) return writeJsonAtomic(join(dir, REPORT), null);
    const synthesized = await synthesizeCrowd(
      imported.dataset,
      { seed: settings.seed, ...config },
      runOptions(pipeline),
    );
    await using source = await openRunClusterer(pipeline, imported, clustered);
    const partitions = await source.clusterer.partition(crowdRequests(synthesized), runOptions(pipeline));
    await save(dir, synthesized, crowdSet(synthesized, partitions));
  });
  const crowded = await load(output);
  const { report } = crowded;
  await announce(
    pipeline,
    NAME,
    report === undefined
      ? "none"
      : `${count(report.coverage.length)} synthesized users of ${count(report.candidates)} candidates cover ` +
          percent(report.coverage.at(-1) ?? 0),
    output.reused,
  );
  return crowded;
}

export async function openCrowd(pipeline: Pipeline, imported: StageOutput, clustered: ClusterStage): Promise<Crowded> {
  return load(await findCrowd(pipeline, imported, clustered));
}

/** The finished stage, its output unread. */
export function findCrowd(pipeline: Pipeline, imported: StageOutput, clustered: ClusterStage): Promise<StageOutput> {
  return requireStage(pipeline, NAME, crowdSpec(pipeline, imported, clustered));
}

function isActive({ settings }: Pipeline, { choice }: ClusterStage): boolean {
  return settings.crowd.enabled && choice.clusterer !== undefined;
}

function crowdSpec(pipeline: Pipeline, imported: StageOutput, clustered: ClusterStage): StageSpec {
  const { crowd, seed } = pipeline.settings;
  return {
    inputs: { import: imported.fingerprint, cluster: clustered.fingerprint },
    config: { ...crowd, enabled: isActive(pipeline, clustered) },
    seed,
    version: VERSION,
  };
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
  const path = join(dir, REPORT);
  const parsed = reportSchema.nullable().safeParse(await readJson(path, "RUN_INVALID"));
  if (!parsed.success) {
    throw new PrismrecError("RUN_INVALID", `${path} is damaged`, {
      received: z.prettifyError(parsed.error),
      hint: "Run the crowd stage again.",
    });
  }
  const report = parsed.data;
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
