// The page: reads the form, has a backend draw, and keeps the samples.
//
// A backend has `models` (names), `about` (a line) and two methods, which take an AbortSignal last:
// - `generate({model, prompt, state, seed, samples, length, temperature, topK, topP, minP, stop})`
//   yields `{sample, characters, finish, state}` as each sample goes on. `state` is the backend's
//   own, after the last character, with the event that has a `finish` ("length" or "stop"). With a
//   `seed` of null the text of the state goes on as it would have.
// - `score({model, text})` yields lists of characters. For characters see text.js.
import config from "./config.js";
import { Card } from "./card.js";
import { $, add, addSlider, complain, halt, run, seed, settings } from "./page.js";
import { costOf, TextView } from "./text.js";
import { Sample } from "./writing.js";

const MOST_SHOWN = 20_000; // characters that a phone still lays out at once
const card = new Card($("card"));
let backend;

async function begin(key) {
  const { open } = await import(config.backend === "local" ? "./local.js" : "./server.js");
  backend = await open(config, key);
  for (const name of backend.models) add($("model"), "option", name);
  $("model").parentElement.hidden = backend.models.length < 2;
  const [model] = backend.models;
  $("about").textContent = [backend.models.length === 1 && model, backend.about]
    .filter(Boolean)
    .join(" · ");
  $("generate").disabled = $("judge").disabled = false;
  $("key").hidden = true;
  $("status").textContent = "Ready.";
}

/** Have the backend draw for samples, in the order of its own. */
async function draw(which, request) {
  const status = $("status");
  return run(status, async (signal) => {
    status.textContent = "Writing …";
    const begun = performance.now();
    for (const sample of which) sample.show(true);
    let characters = 0;
    try {
      const asked = { ...request, samples: which.length };
      for await (const event of backend.generate(asked, signal)) {
        characters += event.characters.length;
        which[event.sample].take(event);
      }
    } finally {
      for (const sample of which) {
        sample.view.paint();
        sample.show();
      }
    }
    const rate = characters / ((performance.now() - begun) / 1000);
    status.textContent =
      `${characters.toLocaleString("en")} characters, ` +
      `${Number(rate.toPrecision(2)).toLocaleString("en")} a second.`;
    $("said").textContent = which
      .map((each) => (each.of > 1 ? `Sample ${each.number + 1}: ` : "") + each.text())
      .join("\n");
  });
}

async function generate() {
  await halt();
  try {
    const [asked, drawn, prompt] = [settings(), seed(), $("prompt").value];
    const [place, before] = [$("samples"), [...$("samples").children]];
    place.replaceChildren();
    const made = Array.from(
      { length: asked.samples },
      (_, n) => new Sample(prompt, n, asked.samples, card, draw),
    );
    for (const sample of made)
      Object.assign(sample, { seed: drawn, model: asked.model, stop: asked.stop[0] });
    const drew = await draw(made, { ...asked, prompt, state: null, seed: drawn });
    if (!drew && made.every((sample) => !sample.length)) place.replaceChildren(...before);
  } catch (problem) {
    complain(problem);
  }
}

async function score() {
  const article = $("judged");
  const [figures, element] = article.children;
  element.replaceChildren();
  const view = new TextView(element.parentElement.appendChild(element.cloneNode()), card);
  element.remove();
  article.hidden = true;
  await run($("scoring"), async (signal) => {
    $("scoring").textContent = "Reading …";
    const all = [];
    for await (const characters of backend.score(
      { model: $("model").value, text: $("text").value },
      signal,
    )) {
      view.append(characters.slice(0, Math.max(0, MOST_SHOWN - all.length)));
      for (const each of characters) all.push(each);
      article.hidden = false;
    }
    view.paint();
    $("scoring").textContent = "";
    const { bits, count } = costOf(all);
    if (!count) throw new Error("A score needs two characters or more that the model knows.");
    const shown =
      all.length > MOST_SHOWN ? ` The first ${MOST_SHOWN.toLocaleString("en")} are shown.` : "";
    figures.replaceChildren();
    add(figures, "b", `${bits.toFixed(3)} bits per character`);
    figures.append(
      `: ${count.toLocaleString("en")} characters, as if from ${(2 ** bits).toFixed(2)} equally ` +
        `likely ones. The first is read, not predicted.${shown}`,
    );
    $("said").textContent = figures.textContent;
  });
}

function tab(name) {
  for (const each of ["write", "score"]) {
    $(each).hidden = each !== name;
    $(`tab-${each}`).setAttribute("aria-selected", each === name);
    $(`tab-${each}`).tabIndex = each === name ? 0 : -1;
  }
  card.hide(true);
  complain(null);
}

const fields = $("request").elements;
addSlider(fields.temperature, 2, 0.05);
addSlider(fields.topP, 1, 0.01);
addSlider(fields.minP, 0.5, 0.01);
const wide = matchMedia("(min-width: 56rem)");
const unfold = () => ($("settings").open = wide.matches);
wide.addEventListener("change", unfold);
unfold();
$("request").noValidate = true;
$("request").onsubmit = (event) => {
  event.preventDefault();
  generate();
};
$("scored").onsubmit = (event) => {
  event.preventDefault();
  score();
};
for (const [id, form] of [
  ["prompt", "request"],
  ["text", "scored"],
]) {
  $(id).onkeydown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey))
      $(form).querySelector(".main").click();
  };
}
$("halt-write").onclick = $("halt-score").onclick = halt;
for (const each of ["write", "score"]) {
  $(`tab-${each}`).onclick = () => tab(each);
  $(`tab-${each}`).onkeydown = (event) => {
    if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    const other = each === "write" ? "score" : "write";
    tab(other);
    $(`tab-${other}`).focus();
  };
}
$("key").onsubmit = (event) => {
  event.preventDefault();
  complain(null);
  open($("key").querySelector("input").value);
};

async function open(key) {
  try {
    await begin(key);
  } catch (problem) {
    $("status").textContent = "";
    $("key").hidden = problem.status !== 401;
    if (key || $("key").hidden) complain(problem);
  }
}

open();
