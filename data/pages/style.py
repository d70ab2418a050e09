"""The style sheet that all pages share: light, dark and print."""

BASE = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #24292e; --quiet: #57606a; --rule: #d0d7de; --tint: #f3f6f9;
  --ours: #1b5e8c; --other: #8c959f; --notebook: #b3261e; --warn: #8a4b00;
  --line-0: #1b5e8c; --line-1: #a34a00; --line-2: #2f6f3e; --line-3: #7a3e9d; --line-4: #8a6d00;
  --line-5: #6b4f3f;
}
@media screen and (prefers-color-scheme: dark) {
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
figure { margin: 1rem 0; }
figure svg { width: 100%; height: auto; max-width: 40rem; display: block; }
summary { cursor: pointer; color: var(--quiet); font-size: .9rem; }
@media print {
  body { max-width: none; padding: 0; font-size: 11px; }
  * { print-color-adjust: exact; }
  .wide { overflow: visible; }
  figure, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
}
"""
