import { type Catalog, createCatalog, type Item } from "@prismrec/core/data";

/** Groups that any reader sees, of titles that do not name them; few enough for two minutes with a model of 1.5 B parameters. */
const GROUPS: Readonly<Record<string, readonly string[]>> = {
  sea: ["Sharks and Coral Reefs", "The Captain's Compass", "Waves and Tides", "Whales of the Pacific"],
  kitchen: [
    "Grandmother's Soup Pot",
    "Knives and Cutting Boards",
    "Tomato Sauce in Ten Minutes",
    "The Perfect Omelette",
  ],
  sky: ["Rings of Saturn", "A Map of the Moon", "Comets and Meteors", "The Telescope at Midnight"],
  garden: ["Roses and Tulips", "Compost and Soil", "Pruning Apple Trees", "Seeds for the Balcony"],
  sound: ["Learning the Violin", "Symphony in B Minor", "Guitar Chords", "The Jazz Trumpet"],
  battle: ["Tanks at Dawn", "The General's Last Order", "Soldiers of the Empire", "Siege of the Fortress"],
};

/** The probe's small catalog, and the group of each dense id (entry 0 is padding). */
export function probeCatalog(): { catalog: Catalog; truth: Int16Array } {
  const groups = Object.values(GROUPS);
  const items: Item[] = [{ id: "", title: "", categories: [] }];
  const truth = [-1];
  for (let i = 0; i < groups[0]!.length; i++) {
    groups.forEach((titles, group) => {
      items.push({ id: `p${items.length}`, title: titles[i]!, categories: [] });
      truth.push(group);
    });
  }
  const catalog = createCatalog(items, new Uint32Array(items.length));
  return { catalog, truth: Int16Array.from(truth) };
}
