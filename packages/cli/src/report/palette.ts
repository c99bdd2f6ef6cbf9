/**
 * Eight colours for what has to be told apart, on a light and on a dark ground: found by searching for the largest least
 * distance of two of them (OKLab), as everybody and as people with protanopia, deuteranopia and tritanopia see them, with a
 * contrast of 3 to the ground and to panels. Nothing is told by colour alone.
 */
export const PALETTE = {
  light: ["#2f5bd7", "#a97334", "#97416c", "#4199a6", "#5c5713", "#6f0122", "#a373f3", "#3c317d"],
  dark: ["#86a5ff", "#ceee4f", "#f4309a", "#37f8f6", "#b15730", "#6755f2", "#f69c9a", "#a3a315"],
} as const;

export const SERIES = PALETTE.light.length;

/** What they lie on: the page, and panels on it. */
export const GROUNDS = { light: ["#ffffff", "#f6f7f9"], dark: ["#14171c", "#1d2128"] } as const;

/** The colours as declarations of custom properties. */
export function paletteCss(scheme: keyof typeof PALETTE): string {
  const [ground, panel] = GROUNDS[scheme];
  const series = PALETTE[scheme].map((colour, n) => `--series-${n + 1}:${colour}`);
  return [`--ground:${ground}`, `--panel:${panel}`, ...series].join(";");
}
