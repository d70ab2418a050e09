"""The style and the script of the page of a text: colours by bits, and the card beside a character.

The script finds the character under the pointer or the focus, and fills the card from the data in
the page. It writes text alone, never HTML.
"""

STYLE = """
:root { --b1: #fff1c2; --b2: #ffdd8c; --b3: #ffbf66; --b4: #f79450; --b5: #c8402f; --b6: #7a1030;
  --on-5: #fff; --on-6: #fff; }
@media screen and (prefers-color-scheme: dark) {
  :root { --b1: #27385a; --b2: #443a78; --b3: #6f3a86; --b4: #a23a72; --b5: #d9653b; --b6: #f5c83c;
    --on-5: #14181c; --on-6: #14181c; }
}
i { font-style: normal; }
.b1 { background: var(--b1); } .b2 { background: var(--b2); } .b3 { background: var(--b3); }
.b4 { background: var(--b4); }
.b5 { background: var(--b5); color: var(--on-5); }
.b6 { background: var(--b6); color: var(--on-6); }
#text { white-space: pre-wrap; overflow-wrap: anywhere; font: 1.05rem/1.75 ui-monospace, monospace;
  margin: 1.2rem 0 12rem; }
#text i { cursor: default; padding: .12em 0; }
#text i:focus, #text i.here { outline: 2px solid var(--ink); outline-offset: 1px;
  position: relative; }
#text .n::before { content: "\\21B5"; color: var(--quiet); }
#text .n.b5::before, #text .n.b6::before { color: inherit; }
table.legend { width: auto; } .legend i { white-space: nowrap; padding: .1em .5em; }
#card { position: fixed; z-index: 1; width: 17rem; padding: .7rem .9rem; background: var(--paper);
  border: 1px solid var(--rule); border-radius: 6px; box-shadow: 0 4px 18px #0005;
  font-size: .9rem; }
#card p { margin: 0 0 .4rem; }
#card div { display: grid; grid-template-columns: 4.5rem 1fr 3.6rem; gap: .5rem;
  align-items: center; }
#card div + div { margin-top: .15rem; }
#card code { overflow: hidden; white-space: nowrap; }
#card .own code { font-weight: 700; }
#card u { height: .7em; min-width: 1px; background: var(--other); text-decoration: none; }
#card .own u { background: var(--ours); }
#card span { text-align: right; font-variant-numeric: tabular-nums; }
@media (max-width: 40rem) {
  #card { left: 0 !important; right: 0; bottom: 0; top: auto !important; width: auto;
    border-radius: 10px 10px 0 0; border-width: 1px 0 0; }
}
@media print { #card, noscript { display: none; } }
"""

SCRIPT = """
"use strict";
const { characters, seen } = JSON.parse(document.getElementById("data").textContent);
const text = document.getElementById("text"), card = document.getElementById("card");
const spans = [...text.children], place = new Map(spans.map((span, n) => [span, n]));
const NAMES = { " ": "space", "\\n": "line end", "\\t": "tab", "\\u00a0": "fixed space" };
const named = character => NAMES[character] ?? character;
const bits = n => (seen[n][0] ?? 0) / 100;
const percent = share => share < .001 ? "<0.1 %" : (100 * share).toFixed(1) + " %";
let here = null;

function add(parent, tag, content, kind) {
  const element = document.createElement(tag);
  element.textContent = content;
  if (kind) element.className = kind;
  parent.append(element);
  return element;
}

function row(character, share, own) {
  const line = add(card, "div", "", own ? "own" : "");
  add(line, "code", named(character));
  add(line, "u", "").style.width = 100 * share + "%";
  add(line, "span", percent(share));
}

function show(n) {
  if (here !== null) spans[here].classList.remove("here");
  here = n;
  spans[n].classList.add("here");
  const own = spans[n].textContent, [, rank, ...likely] = seen[n];
  card.replaceChildren();
  const head = add(card, "p", "");
  add(head, "b", named(own));
  if (rank === undefined) {
    head.append(": the first character, read and not predicted");
  } else {
    head.append(`: ${bits(n).toFixed(2)} bits, number ${rank} of ${characters.length}`);
    let listed = false;
    for (let each = 0; each < likely.length; each += 2) {
      const mine = characters[likely[each]] === own;
      listed ||= mine;
      row(characters[likely[each]], likely[each + 1] / 1000, mine);
    }
    if (!listed) row(own, 2 ** -bits(n), true);
  }
  card.hidden = false;
  const at = spans[n].getBoundingClientRect(), below = at.bottom + 10;
  const left = Math.min(at.left, document.documentElement.clientWidth - card.offsetWidth - 12);
  const room = below + card.offsetHeight < innerHeight;
  card.style.left = Math.max(8, left) + "px";
  card.style.top = (room ? below : Math.max(8, at.top - 10 - card.offsetHeight)) + "px";
}

function hide() {
  if (here !== null) spans[here].classList.remove("here");
  here = null;
  card.hidden = true;
}

function go(n) {
  text.querySelector("[tabindex='0']")?.setAttribute("tabindex", "-1");
  spans[n].tabIndex = 0;
  spans[n].focus();
}

function surprise(n, step) {
  for (let next = n + step; next in spans; next += step) if (bits(next) >= 4) return next;
  return n;
}

if (spans.length) spans[0].tabIndex = 0;
text.addEventListener("pointerover", event => {
  if (place.has(event.target)) show(place.get(event.target));
});
text.addEventListener("pointerleave", () => {
  const focused = place.get(document.activeElement);
  focused === undefined ? hide() : show(focused);
});
text.addEventListener("click", event => {
  if (place.has(event.target)) go(place.get(event.target));
});
text.addEventListener("focusin", event => show(place.get(event.target)));
text.addEventListener("focusout", hide);
addEventListener("scroll", () => {
  document.activeElement === spans[here] ? show(here) : hide();
}, { passive: true });
text.addEventListener("keydown", event => {
  const n = place.get(event.target), last = spans.length - 1;
  const to = {
    ArrowLeft: Math.max(0, n - 1), ArrowRight: Math.min(last, n + 1), Home: 0, End: last,
    ArrowUp: surprise(n, -1), ArrowDown: surprise(n, 1),
  }[event.key];
  if (event.key === "Escape") hide();
  if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  go(to);
});
"""
