"""The style sheet of the HTML report: light, dark, print and phone."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #24292e; --quiet: #57606a; --rule: #d0d7de; --tint: #f3f6f9;
  --ours: #1b5e8c; --other: #8c959f; --notebook: #b3261e; --warn: #8a4b00;
  --line-0: #1b5e8c; --line-1: #a34a00; --line-2: #2f6f3e; --line-3: #7a3e9d; --line-4: #8a6d00;
  --line-5: #6b4f3f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181c; --ink: #e2e6ea; --quiet: #a3adb7; --rule: #3a424a; --tint: #1d2329;
    --ours: #5aa9dd; --other: #7d8791; --notebook: #f0837a; --warn: #f0b35e;
    --line-0: #6cb6e8; --line-1: #f09a52; --line-2: #7cc48c; --line-3: #c79be6; --line-4: #d9bd4a;
    --line-5: #c9a893;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 62rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif;
}
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.8rem 0 .6rem; border-bottom: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
h3::first-letter { text-transform: uppercase; }
p, li { max-width: 46rem; }
.quiet, .key, figcaption { color: var(--quiet); font-size: .9rem; }
.warning { border-left: 4px solid var(--warn); padding: .4rem .8rem; background: var(--tint); }
.unstable { color: var(--warn); font-style: normal; font-size: .8em; white-space: nowrap; }
.unstable::before { content: "\\26A0\\FE0E "; }
.wide { overflow-x: auto; }
.wide td:first-child { min-width: 11rem; }
.wide td:not(:first-child, .word, .skip) { white-space: nowrap; }
td.word { min-width: 10rem; }
td.skip { text-align: left; color: var(--quiet); }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { padding: .35rem .6rem; text-align: right; vertical-align: top; }
th { border-bottom: 2px solid var(--rule); font-weight: 600; vertical-align: bottom; }
td { border-bottom: 1px solid var(--rule); font-variant-numeric: tabular-nums; }
th:first-child, td:first-child, .word { text-align: left; }
tr.ours td:first-child { font-weight: 700; color: var(--ours); }
tr.limit td { color: var(--quiet); font-style: italic; }
code, tr.code td:first-child { font-family: ui-monospace, monospace; font-size: .9em; }
.answers table { font-size: 1rem; }
.answers td { padding: .55rem .6rem; }
.answers td:nth-child(3) { font-size: 1.25rem; font-weight: 700; white-space: nowrap; }
.answers th { white-space: nowrap; }
.answers td.word { font-family: ui-monospace, monospace; font-size: .9rem; }
.answers td:first-child::first-letter { text-transform: uppercase; }
.bars { list-style: none; margin: 0; padding: 0; }
.bars li {
  display: grid; grid-template-columns: 17rem 1fr 8.5rem 5rem; gap: 0 .7rem; align-items: center;
  max-width: none; padding: .1rem 0; font-size: .9rem;
}
.bars .ours .name, .bars .ours .rate { font-weight: 700; }
.bars svg { grid-column: 2; grid-row: 1; width: 100%; height: 1.3rem; display: block; }
.bars .rate { grid-column: 3; grid-row: 1; text-align: right; font-variant-numeric: tabular-nums; }
.bars .times {
  grid-column: 4; grid-row: 1; text-align: right; color: var(--quiet); white-space: nowrap;
}
.bar { fill: var(--other); }
.ours .bar { fill: var(--ours); }
.notebook .bar { fill: var(--notebook); }
.bars path { fill: none; stroke: var(--ink); vector-effect: non-scaling-stroke; }
.bars .grid { stroke: var(--rule); stroke-width: 1; }
.bars .whisker { stroke-width: 1.5; }
.bars .limit { stroke-width: 2; stroke-dasharray: 4 2; }
.axis {
  position: relative; height: 1.4rem; margin: .1rem 14.9rem 0 17.7rem;
  font-size: .8rem; color: var(--quiet);
}
.axis span { position: absolute; transform: translateX(-50%); }
figure { margin: 1rem 0; }
figure svg { width: 100%; height: auto; max-width: 40rem; display: block; }
summary { cursor: pointer; color: var(--quiet); font-size: .9rem; }
@media (max-width: 46rem) {
  .bars li { grid-template-columns: 1fr auto 4.6rem; padding: .25rem 0; }
  .bars .name { grid-column: 1; grid-row: 1; }
  .bars .rate { grid-column: 2; }
  .bars .times { grid-column: 3; }
  .bars svg { grid-column: 1 / -1; grid-row: 2; height: .9rem; }
  .axis { margin: .1rem 0 0; }
  .axis span:first-child { transform: none; }
  .axis span:last-child { transform: translateX(-100%); }
  .answers thead { display: none; }
  .answers tr {
    display: grid; grid-template-columns: 1fr auto; border-bottom: 1px solid var(--rule);
  }
  .answers tr { padding: .5rem 0; align-items: baseline; }
  .answers td { border: 0; padding: .05rem .2rem; }
  .answers td:nth-child(-n+2) { grid-column: 1 / -1; }
  .answers td:nth-child(3) { grid-column: 1; text-align: left; }
  .answers td:nth-child(3)::after { content: " characters/s"; font-size: .8rem; font-weight: 400; }
  .answers td:nth-child(4):not(:empty)::after { content: " \\D7  notebook"; }
}
@media print {
  :root {
    color-scheme: light; --paper: #fff; --ink: #000; --quiet: #444; --rule: #bbb; --tint: #fff;
    --ours: #1b5e8c; --other: #999; --notebook: #b3261e; --warn: #8a4b00;
    --line-0: #1b5e8c; --line-1: #a34a00; --line-2: #2f6f3e; --line-3: #7a3e9d;
    --line-4: #8a6d00; --line-5: #6b4f3f;
  }
  body { max-width: none; padding: 0; font-size: 11px; }
  * { print-color-adjust: exact; }
  .wide { overflow: visible; }
  figure, tr, .bars li { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
}
"""
