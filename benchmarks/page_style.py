"""The style sheet of the HTML report: what it has beside every page's, and phones."""

from charlm.data.pages.style import BASE

CSS = (
    BASE
    + """.answers table { font-size: 1rem; }
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
  .bars li { break-inside: avoid; }
}
"""
)
