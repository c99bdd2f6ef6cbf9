/** The report's own style sheet: one column, light and dark, good on paper. */
export const STYLE = `
:root{color-scheme:light dark;--ground:#fff;--panel:#f6f7f9;--ink:#1b1f27;--muted:#8b93a1;--soft:#5b6472;--line:#dde1e7;
--accent:#2f5bd7;--good:#1a7f4b;--bad:#b3361b;--series-1:#2f5bd7;--series-2:#d9822b;--series-3:#2b9a8f;--series-4:#9a4fbf;--series-5:#b3361b}
@media (prefers-color-scheme:dark){:root{--ground:#14171c;--panel:#1d2128;--ink:#e7eaf0;--muted:#7d8696;--soft:#a5adba;
--line:#323843;--accent:#86a5ff;--good:#5fce96;--bad:#f28a70;--series-1:#86a5ff;--series-2:#f0ae63;--series-3:#5cc9bd;
--series-4:#cb93e8;--series-5:#f28a70}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:60rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.15rem;font-weight:600;color:var(--soft);margin:0 0 .35rem}
h2{font-size:1.2rem;margin:2.75rem 0 .75rem}
h3{font-size:1rem;margin:0 0 .5rem}
p{margin:.5rem 0}
.verdict{font-size:1.6rem;line-height:1.3;font-weight:650;margin:.2rem 0 .8rem;text-wrap:balance}
.soft{color:var(--soft)}
.facts{display:flex;flex-wrap:wrap;gap:.35rem 1.5rem;color:var(--soft);margin:0;padding:0;list-style:none}
.facts b{color:var(--ink);font-weight:600}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.4rem .7rem;text-align:right;border-bottom:1px solid var(--line);vertical-align:top;white-space:nowrap}
th{font-weight:600;color:var(--soft);font-size:.875rem}
th:first-child,td:first-child,.left th,.left td{text-align:left}
td small,th small{display:block;color:var(--soft);font-size:.75rem}
tr.own td{font-weight:650;background:var(--panel)}
tr.own small{font-weight:400}
figure{margin:0}
figure svg{max-width:100%;height:auto}
figcaption{color:var(--soft);font-size:.9rem}
details{margin:.5rem 0;color:var(--soft)}
details table{color:var(--ink);font-size:.875rem;width:auto}
summary{cursor:pointer;font-size:.875rem}
.user{background:var(--panel);border-radius:.75rem;padding:1.25rem;margin:1rem 0}
.columns{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr);gap:1.5rem}
@media (max-width:44rem){.columns{grid-template-columns:1fr}}
ol,ul{margin:0;padding:0;list-style:none}
.interest{display:grid;grid-template-columns:1.6rem minmax(0,1fr) auto;gap:.15rem .6rem;padding:.45rem 0;border-bottom:1px solid var(--line)}
.interest:last-child,.item:last-child{border-bottom:0}
.badge{display:inline-grid;place-items:center;width:1.5rem;height:1.5rem;border-radius:50%;font-size:.8rem;font-weight:650;color:var(--ground);background:var(--soft)}
.c0{background:var(--series-1)}.c1{background:var(--series-2)}.c2{background:var(--series-3)}.c3{background:var(--series-4)}.c4{background:var(--series-5)}
.bar{grid-column:2/4;height:.3rem;border-radius:.15rem;background:var(--line);overflow:hidden}
.bar i{display:block;height:100%;background:var(--accent)}
.because{grid-column:2/4;color:var(--soft);font-size:.82rem;overflow-wrap:anywhere}
.item{display:grid;grid-template-columns:1.6rem minmax(0,1fr) auto;gap:.6rem;padding:.35rem 0;border-bottom:1px solid var(--line);overflow-wrap:anywhere}
.hit{color:var(--good);font-size:.82rem;white-space:nowrap}
.good{color:var(--good)}.bad{color:var(--bad)}
pre{background:var(--panel);border-radius:.5rem;padding:.9rem 1rem;overflow-x:auto;font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.875em}
@media print{main{max-width:none;padding:0}.user,figure{break-inside:avoid}body{font-size:12px}}
`;
