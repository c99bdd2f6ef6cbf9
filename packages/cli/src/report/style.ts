import { PALETTE, paletteCss } from "./palette.js";

/** Below this width the narrow twin of a chart is shown. */
const NARROW = "44rem";
const badges = PALETTE.light.map((_, n) => `.c${n}{border-color:var(--series-${n + 1})}`).join("");

/** The pages' own style sheet: one column, light and dark, good on paper. */
export const STYLE = `
:root{color-scheme:light dark;${paletteCss("light")};--ink:#1b1f27;--soft:#566070;--line:#dde1e7;
--good:#1a7f4b;--bad:#b3361b;--open:#8a5a00}
@media (prefers-color-scheme:dark){:root{${paletteCss("dark")};--ink:#e7eaf0;--soft:#a5adba;--line:#323843;
--good:#5fce96;--bad:#f28a70;--open:#e5b454}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:60rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.15rem;font-weight:600;color:var(--soft);margin:0 0 .35rem;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.75rem 0 .75rem}
h3{font-size:1rem;margin:0 0 .5rem;overflow-wrap:anywhere}
h4{font-size:.9rem;margin:0 0 .35rem;color:var(--soft);font-weight:600}
p{margin:.5rem 0}
a{color:inherit}
.verdict{font-size:1.6rem;line-height:1.3;font-weight:650;margin:.2rem 0 .8rem;text-wrap:balance;overflow-wrap:anywhere}
@media (max-width:${NARROW}){.verdict{font-size:1.3rem}}
.soft{color:var(--soft)}
.facts,nav ul{display:flex;flex-wrap:wrap;gap:.35rem 1.5rem;color:var(--soft);margin:0;padding:0;list-style:none}
.facts b{color:var(--ink);font-weight:600}
nav{margin:1rem 0 0;font-size:.875rem}
nav ul{gap:.25rem 1rem}
.scroll{overflow-x:auto;margin-top:.75rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.4rem .7rem;text-align:right;border-bottom:1px solid var(--line);vertical-align:top;white-space:nowrap}
th{font-weight:600;color:var(--soft);font-size:.875rem}
tbody th{color:var(--ink);font-weight:400;font-size:inherit}
th:first-child,td:first-child,.left th,.left td{text-align:left}
tbody th small{white-space:normal;min-width:11rem}
td small,th small{display:block;color:var(--soft);font-size:.75rem}
tr.own td,tr.own th{font-weight:650;background:var(--panel)}
tr.own small{font-weight:400}
figure{margin:0}
figure svg{max-width:100%;height:auto;display:block}
.narrow{display:none}
@media (max-width:${NARROW}){.wide{display:none}.narrow{display:block}}
figcaption{color:var(--soft);font-size:.9rem}
.multiples{display:grid;grid-template-columns:repeat(auto-fill,minmax(15.5rem,1fr));gap:1.25rem}
.multiples svg{width:100%}
.multiples figcaption b{color:var(--ink);font-weight:600}
dl{margin:.5rem 0;color:var(--soft);font-size:.9rem;display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.15rem .9rem}
dt{font-weight:600;color:var(--ink)}
dd{margin:0}
details{margin:.5rem 0;color:var(--soft)}
details table{color:var(--ink);font-size:.875rem}
details .tight{width:auto}
summary{cursor:pointer;font-size:.9rem;padding:.15rem 0}
ol,ul{margin:0;padding:0;list-style:none}
.notes li{padding:.1rem 0;color:var(--soft);font-size:.9rem}
.checks li{display:grid;grid-template-columns:4.6rem minmax(0,1fr);gap:.6rem;padding:.4rem 0;border-bottom:1px solid var(--line);overflow-wrap:anywhere}
.checks li:last-child{border-bottom:0}
.state{font-weight:650;font-size:.9rem;white-space:nowrap}
.good{color:var(--good)}.bad{color:var(--bad)}.open{color:var(--open)}
.user{background:var(--panel);border-radius:.75rem;padding:1.25rem;margin:1rem 0}
.columns{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr);gap:1.5rem}
@media (max-width:${NARROW}){.columns{grid-template-columns:minmax(0,1fr)}}
.interest{display:grid;grid-template-columns:1.8rem minmax(0,1fr) auto;gap:.15rem .6rem;padding:.45rem 0;border-bottom:1px solid var(--line);overflow-wrap:anywhere}
.interest:last-child,.item:last-child{border-bottom:0}
.badge{display:inline-grid;place-items:center;width:1.7rem;height:1.7rem;border-radius:50%;font-size:.8rem;font-weight:650;border:.24rem solid var(--soft)}
${badges}
.bar{grid-column:2/4;height:.3rem;border-radius:.15rem;background:var(--line);overflow:hidden}
.bar i{display:block;height:100%;background:var(--series-1)}
.because{grid-column:2/4;color:var(--soft);font-size:.82rem}
.item{display:grid;grid-template-columns:1.8rem minmax(0,1fr) auto;gap:.6rem;padding:.35rem 0;border-bottom:1px solid var(--line);overflow-wrap:anywhere}
.plain .item{grid-template-columns:minmax(0,1fr) auto}.plain .item span:first-child:empty{display:none}
.hit{color:var(--good);font-size:.82rem;white-space:nowrap}
.search{display:flex;flex-wrap:wrap;gap:.4rem .8rem;align-items:baseline;margin:.75rem 0 .25rem}
.search label{font-weight:600}
.search input{flex:1 1 14rem;min-width:0;font:inherit;color:inherit;background:var(--ground);border:1px solid var(--soft);border-radius:.5rem;padding:.45rem .7rem}
.matches{display:flex;flex-wrap:wrap;gap:.4rem;margin:.4rem 0}
.matches button{font:inherit;font-size:.9rem;color:inherit;background:var(--panel);border:1px solid var(--soft);border-radius:.5rem;padding:.25rem .7rem;cursor:pointer;max-width:100%;overflow-wrap:anywhere}
:focus-visible{outline:2px solid var(--series-1);outline-offset:2px}
pre{background:var(--panel);border-radius:.5rem;padding:.9rem 1rem;overflow-x:auto;font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.875em;overflow-wrap:anywhere}
@media print{main{max-width:none;padding:0}.user,figure{break-inside:avoid}body{font-size:12px}nav,.search,.matches{display:none}}
`;
