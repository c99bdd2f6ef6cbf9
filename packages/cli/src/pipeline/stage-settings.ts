import { PrismrecError } from "@prismrec/core/base";
import { z } from "zod";
import { type Settings, settingsSchema } from "../config/schema.js";
import type { Stage } from "./stage.js";

/** The settings of one stage among all of a run. */
export function settingsOf(stage: Stage, settings: Readonly<Record<string, unknown>>): unknown {
  const own = Object.keys(stage.settings.shape).filter((name) => settings[name] !== undefined);
  return stage.settings.parse(Object.fromEntries(own.map((name) => [name, settings[name]])));
}

/** The schema of a run's settings with those of further stages. Throws INVALID_ARGUMENT where a name means two things. */
export function withSettingsOf(stages: readonly Stage[]): z.ZodType<Settings> {
  const shape: Record<string, unknown> = { ...settingsSchema.shape };
  for (const { name, settings } of stages) {
    for (const [setting, schema] of Object.entries(settings.shape)) {
      if (shape[setting] !== undefined && shape[setting] !== schema) {
        throw new PrismrecError("INVALID_ARGUMENT", `the stage ${name} has a setting ${setting} of its own kind`, {
          expected: "a name that no other setting of a run has, or that very setting (settingsSchema.pick)",
          received: setting,
        });
      }
      shape[setting] = schema;
    }
  }
  // The stages are only known at run time: all that is certain is that the settings of every run are among these.
  return z.strictObject(shape as z.core.$ZodLooseShape) as unknown as z.ZodType<Settings>;
}
