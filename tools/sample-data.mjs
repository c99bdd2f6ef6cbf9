// Writes the embedded sample: users whose interests are known by construction over a catalog whose titles hint at an
// interest without naming it and whose categories (kinds of product) are independent of the interests.
// Usage: node tools/sample-data.mjs --out DIR [--seed N] [--users N] [--items N]
// Files: interactions.csv (user,item,timestamp), items.csv (item,title,categories), truth.csv (item,interest).
import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

/** What a title may mention for each interest. The names are the truth; no title holds them. */
export const interests = {
  stargazing: [
    "Rings of Saturn",
    "Telescope Eyepieces",
    "Meteor Showers",
    "Craters of the Moon",
    "Constellations",
    "Distant Nebulae",
    "Solar Eclipses",
    "Comets and Asteroids",
    "The Milky Way",
    "Jupiter's Moons",
    "Red Giant Stars",
    "Observatory Nights",
    "Planets and Orbits",
    "Supernova Remnants",
  ],
  baking: [
    "Sourdough Loaves",
    "Cinnamon Rolls",
    "Puff Pastry",
    "Rye Bread",
    "Birthday Cakes",
    "Croissants",
    "Butter Cookies",
    "Yeast and Flour",
    "Pie Crusts",
    "Muffin Tins",
    "Chocolate Brownies",
    "Cupcake Frosting",
    "Pizza Dough",
    "Oven Mitts",
  ],
  camping: [
    "Two-Person Tents",
    "Sleeping Bags",
    "Campfire Coals",
    "Mountain Trails",
    "Backpacks for Long Treks",
    "Trekking Poles",
    "Nights under Canvas",
    "Rope Hammocks",
    "Bear-Proof Canisters",
    "Compass and Trail Map",
    "Wilderness Shelters",
    "Alpine Huts",
    "Head Torches",
    "Trail Boots",
  ],
  gardening: [
    "Tomato Seedlings",
    "Rose Bushes",
    "Compost Heaps",
    "Pruning Shears",
    "Raised Beds",
    "Tulip Bulbs",
    "Watering Cans",
    "Lawn Mowers",
    "Potting Soil",
    "Greenhouse Cucumbers",
    "Hedges and Lawns",
    "Weeds and Mulch",
    "Flower Pots",
    "Orchids",
  ],
  fishing: [
    "Trout Streams",
    "Carp Ponds",
    "Spinning Reels",
    "Bait and Tackle",
    "Salmon Runs",
    "Ice Holes and Perch",
    "Fly Rods",
    "Landing Nets",
    "Hooks and Sinkers",
    "Bass on the Line",
    "Lures and Floats",
    "Pike in the Reeds",
    "Anglers at Dawn",
    "Waders",
  ],
  cycling: [
    "Carbon Wheels",
    "Bike Chains",
    "Handlebars and Saddles",
    "Tour de France Stages",
    "Pedals and Cleats",
    "Tyre Pumps",
    "Gravel Bikes",
    "Inner Tubes",
    "Derailleurs",
    "Mountain Bike Trails",
    "Velodrome Sprints",
    "Tandem Rides",
    "Peloton Tactics",
    "Handlebar Lamps",
  ],
  photography: [
    "Wide-Angle Lenses",
    "Shutter Speeds",
    "Portrait Lighting",
    "Darkroom Prints",
    "35mm Cameras",
    "Tripods",
    "Flash Guns",
    "Polaroids",
    "Aperture and Exposure",
    "Zoom Lenses",
    "Negatives and Prints",
    "Camera Straps",
    "Studio Backdrops",
    "Selfies and Snapshots",
  ],
  needlework: [
    "Merino Yarn",
    "Cable Stitches",
    "Wool Socks",
    "Crochet Hooks",
    "Patchwork Quilts",
    "Thread and Thimbles",
    "Cross Stitch",
    "Circular Needles",
    "Lace Shawls",
    "Buttons and Zips",
    "Embroidery Hoops",
    "Hems and Pleats",
    "Bobbins and Fabric",
    "Felt Slippers",
  ],
  music: [
    "Chopin Nocturnes",
    "Steinway Grands",
    "Bach Preludes",
    "Metronomes",
    "Mozart Sonatas",
    "Scales and Chords",
    "Guitar Strings",
    "Violin Bows",
    "Sheets for Two Violins",
    "Jazz Standards",
    "Choir Songs",
    "Concert Halls",
    "Orchestra Scores",
    "Beethoven Symphonies",
  ],
  chess: [
    "Queen's Gambit",
    "Sicilian Defence",
    "Rooks and Pawns",
    "Checkmate in Two",
    "Bishop Endings",
    "Grandmaster Tournaments",
    "King and Pawn Endings",
    "Tournament Clocks",
    "Knight Forks",
    "Bobby Fischer's Best",
    "Kasparov versus Karpov",
    "Blindfold Opponents",
    "Opening Traps",
    "Castling Early",
  ],
  pets: [
    "Puppy Leashes",
    "Golden Retrievers",
    "Chew Bones",
    "Terriers",
    "Barking and Biting",
    "Kennels",
    "Collies at Work",
    "Poodle Grooming",
    "Collars and Tags",
    "House-Training a Puppy",
    "Kitten Baskets",
    "Litter Boxes",
    "Veterinary Visits",
    "Tail Wagging",
  ],
  painting: [
    "Landscapes in Tempera",
    "Brushes and Easels",
    "Oil on Canvas",
    "Charcoal Portraits",
    "Monet's Water Lilies",
    "Palettes and Pigments",
    "Still Life in Pastel",
    "Van Gogh's Sunflowers",
    "Acrylic Colours",
    "Sketchbooks",
    "Ink and Wash",
    "Gallery Frames",
    "Mural Walls",
    "Rembrandt's Portraits",
  ],
};

/** Kinds of product; they say nothing about the interest. */
export const forms = {
  Books: ["The Little Book of {}", "{}: An Illustrated Guide", "A Year of {}"],
  Gear: ["{}, Set of Four", "Spare Case for {}", "{}, Deluxe Edition"],
  Gift: ["{} Gift Box", "{} Mug", "{} Calendar"],
  Course: ["Evening Class: {}", "Weekend Workshop: {}", "{} in Ten Lessons"],
};

/** A small generator of uniform numbers in [0, 1) (mulberry32), so that this file runs before anything is built. */
function uniforms(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function shuffled(values, uniform) {
  const copy = [...values];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.floor(uniform() * (i + 1));
    [copy[i], copy[j]] = [copy[j], copy[i]];
  }
  return copy;
}

/** Catalog of `count` items: interests in turn, each hint in several forms, categories drawn apart from interests. */
function makeItems(count, uniform) {
  const names = Object.keys(interests);
  const patterns = Object.entries(forms).flatMap(([category, list]) => list.map((form) => ({ category, form })));
  const queues = names.map((name) =>
    shuffled(
      interests[name].flatMap((hint) => {
        const byCategory = new Map(shuffled(patterns, uniform).map((pattern) => [pattern.category, pattern]));
        return [...byCategory.values()].map((pattern) => ({ hint, ...pattern }));
      }),
      uniform,
    ),
  );
  const items = [];
  for (let i = 0; i < count; i++) {
    const interest = i % names.length;
    const next = queues[interest].pop();
    if (next === undefined) throw new Error(`at most ${items.length} items can be made`);
    items.push({
      id: `i${String(i + 1).padStart(4, "0")}`,
      title: next.form.replace("{}", next.hint),
      category: next.category,
      interest: names[interest],
    });
  }
  return items;
}

/** Draws an index with probability proportional to `weights`. */
function draw(weights, uniform) {
  let left = uniform() * weights.reduce((sum, w) => sum + w, 0);
  for (let i = 0; i < weights.length; i++) {
    left -= weights[i];
    if (left < 0) return i;
  }
  return weights.length - 1;
}

/**
 * Users of 2 to 4 interests with unequal shares. A session stays on its interest with probability .6 per event; one
 * event in twenty is any item at all; within an interest, items are popular by a power law. Lengths are log-normal.
 */
function makeUsers(count, items, uniform) {
  const names = Object.keys(interests);
  const members = names.map((name) => items.map((_, i) => i).filter((i) => items[i].interest === name));
  const weights = members.map((list) =>
    shuffled(
      list.map((_, rank) => (rank + 1) ** -0.8),
      uniform,
    ),
  );
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  const users = [];
  for (let u = 0; u < count; u++) {
    const own = shuffled(names.keys(), uniform).slice(0, 2 + Math.floor(uniform() * 3));
    const shares = own.map(() => 0.3 - Math.log(1 - uniform()));
    const length = Math.min(40, Math.max(6, Math.round(Math.exp(Math.log(11) + 0.5 * normal()))));
    const seen = new Set();
    const events = [];
    let time = 1_700_000_000 + Math.floor(uniform() * 20_000_000);
    let current = draw(shares, uniform);
    for (let tries = 0; events.length < length && tries < 4 * length; tries++) {
      if (uniform() > 0.6) {
        current = draw(shares, uniform);
        time += 3_600 + Math.floor(uniform() * 864_000);
      }
      time += 20 + Math.floor(uniform() * 1_200);
      const interest = own[current];
      const item =
        uniform() < 0.05 ? Math.floor(uniform() * items.length) : members[interest][draw(weights[interest], uniform)];
      if (seen.has(item)) continue;
      seen.add(item);
      events.push({ item, time });
    }
    users.push(events);
  }
  return users;
}

/**
 * The whole sample as text, the same bits for the same arguments.
 * @param {{seed?: number, users?: number, items?: number}} [options]
 */
export function sample({ seed = 1, users = 2000, items = 504 } = {}) {
  const uniform = uniforms(seed);
  const catalog = makeItems(items, uniform);
  const histories = makeUsers(users, catalog, uniform);
  const table = (header, rows) => `${[header, ...rows].join("\n")}\n`;
  const quote = (text) => (/[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return {
    "interactions.csv": table(
      "user,item,timestamp",
      histories.flatMap((events, u) => events.map(({ item, time }) => `u${u + 1},${catalog[item].id},${time}`)),
    ),
    "items.csv": table(
      "item,title,categories",
      catalog.map(({ id, title, category }) => `${id},${quote(title)},${category}`),
    ),
    "truth.csv": table(
      "item,interest",
      catalog.map(({ id, interest }) => `${id},${interest}`),
    ),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      out: { type: "string" },
      seed: { type: "string", default: "1" },
      users: { type: "string", default: "2000" },
      items: { type: "string", default: "504" },
    },
  });
  const [seed, users, items] = [values.seed, values.users, values.items].map(Number);
  if (values.out === undefined || ![seed, users, items].every((n) => Number.isSafeInteger(n) && n >= 0)) {
    process.stderr.write("usage: node tools/sample-data.mjs --out DIR [--seed N] [--users N] [--items N]\n");
    process.exit(2);
  }
  await mkdir(values.out, { recursive: true });
  for (const [name, text] of Object.entries(sample({ seed, users, items }))) {
    const path = join(values.out, name);
    await writeFile(`${path}.part`, text);
    await rename(`${path}.part`, path);
  }
  process.stdout.write(
    `wrote ${users} users and ${items} items of ${Object.keys(interests).length} interests to ${values.out}\n`,
  );
}
