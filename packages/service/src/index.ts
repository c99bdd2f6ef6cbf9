export { type OpenServed, type Served, servedOf } from "./served.js";
export { type App, Service, type ServiceOptions } from "./service.js";
export { type RawServiceSettings, type ServiceSettings, serviceSettingsSchema } from "./settings.js";
export {
  parseVariants,
  type ServedVariant,
  type ServedVariants,
  type VariantsDocument,
  variantsSchema,
} from "./variants.js";
