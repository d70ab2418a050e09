// The page: reads the form, has a backend draw, and keeps the samples.
//
// A backend has `models` (names), `about` (a line) and two methods, which take an AbortSignal last:
// - `generate({model, prompt, state, seed, samples, length, temperature, topK, topP, minP, stop})`
//   yields `{sample, characters, finish, state}` as each sample goes on. `state` is the backend's
//   own, after the last character, with the event that has a `finish` ("length" or "stop"). With a
//   `seed` of null the text of the state goes on as it would have.
// - `score({model, text})` yields lists of characters. For characters see text.js.
import config from "./config.js";
import { add, Card, costOf, TextView } from "./text.js";

const MOST_SHOWN = 20_000; // characters that a phone still lays out at once
const $ = (id) => document.getElementById(id);
const card = new Card($("card"));
let backend;
let work = null; // what runs now, and how it is stopped

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

function complain(problem) {
  $("error").textContent = problem?.message ?? "";
  $("error").hidden = !problem;
}

/** Do something that can be stopped, one such at a time; its errors are shown in one line. Was there none? */
async function run(status, doing) {
  await halt();
  complain(null);
  const control = new AbortController();
  const done = (async () => {
    for (const id of ["halt-write", "halt-score"]) $(id).hidden = false;
    try {
      await doing(control.signal);
      return true;
    } catch (problem) {
      status.textContent = control.signal.aborted ? "Stopped." : "";
      if (!control.signal.aborted) complain(problem);
      return control.signal.aborted;
    } finally {
      for (const id of ["halt-write", "halt-score"]) $(id).hidden = true;
      work = null;
    }
  })();
  work = { control, done };
  return done;
}

async function halt() {
  work?.control.abort();
  await work?.done;
}

/** The form's settings; an error names the field. */
function settings() {
  const form = $("request").elements;
  const given = { model: $("model").value, samples: Number(form.samples.value) };
  for (const name of ["temperature", "topP", "minP", "topK", "length"]) {
    const field = form.namedItem(name); // `elements.length` is a number
    if (!field.checkValidity() || field.value === "") {
      $("settings").open = true;
      field.focus();
      const { min, max } = field;
      const label = field.parentElement.firstChild.textContent.trim();
      throw new Error(`${label} is from ${min}${max ? ` to ${max}` : " on"}.`);
    }
    given[name] = Number(field.value);
  }
  const stop = form.stop.value.replace(/\\([nt\\])/g, (_, c) => ({ n: "\n", t: "\t", "\\": "\\" })[c]);
  return { ...given, stop: stop ? [stop] : [] };
}

function seed() {
  const text = $("request").elements.seed.value.trim();
  if (!text) return newSeed();
  if (!/^\d{1,20}$/.test(text) || BigInt(text) >= 2n ** 64n)
    throw new Error("The seed is a whole number from 0 to 2^64 - 1, or empty for a new one.");
  return BigInt(text);
}

const newSeed = () => BigInt(crypto.getRandomValues(new Uint32Array(1))[0]);

/** One text: its characters, and a state of the backend after some of them. */
class Sample {
  constructor(prompt, number, of) {
    Object.assign(this, { prompt, number, of, known: null, past: [], finish: null });
    const box = add($("samples"), "article", "", { className: "sample" });
    this.head = add(box, "header");
    if (of > 1) add(this.head, "h2", `Sample ${number + 1}`);
    this.figures = add(this.head, "p", "", { className: "figures" });
    this.element = add(box, "div", "", { className: "text", dir: "auto" });
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", of > 1 ? `Text of sample ${number + 1}` : "Text");
    add(this.element, "span", prompt, { className: "prompt" });
    const bar = add(box, "div", "", { className: "bar" });
    const button = (name, onclick) => add(bar, "button", name, { type: "button", onclick });
    this.buttons = [
      button("Go on", () => this.goOn()),
      button("Undo", () => this.undo()),
      button("Copy", () => this.copy()),
    ];
    this.view = new TextView(this.element, card, (place) => this.actions(place));
    this.show();
  }

  get length() {
    return this.view.characters.length;
  }

  text(from = 0) {
    return this.view.characters.slice(from).map((each) => each.text).join("");
  }

  /** What can be done at a character. */
  actions(place) {
    return {
      choose: (text) => this.rewind(place, text).then(() => this.goOn(newSeed())),
      others: [
        ["Go on with a new seed", () => this.rewind(place + 1).then(() => this.goOn(newSeed()))],
        ["Only drop what follows", () => this.rewind(place + 1)],
      ],
    };
  }

  /** Drop the characters from a place on, and put another there. */
  async rewind(place, instead = null) {
    await halt();
    const { view, known, finish, seed } = this;
    this.past.push({ characters: [...view.characters], known, finish, seed });
    const [old] = view.characters.slice(place, place + 1);
    view.cut(place);
    this.finish = null;
    if (known?.length > place) this.known = null;
    if (instead !== null) {
      const [, share] = old.likely.find(([character]) => character === instead);
      view.append([{ text: instead, bits: -Math.log2(share), likely: old.likely }]);
    }
    this.show();
    this.length ? view.focus(this.length - 1, true) : this.buttons[0].focus();
  }

  async undo() {
    await halt();
    const { characters, ...rest } = this.past.pop();
    Object.assign(this, rest);
    this.view.cut(0);
    this.view.append(characters);
    this.show();
  }

  async copy() {
    const text = this.prompt + this.text();
    await navigator.clipboard.writeText(text).catch(complain);
    $("status").textContent = "Copied.";
  }

  /** Draw more of this text: with the state, whatever was not read since; null: the same seed. */
  async goOn(seed = null) {
    await halt();
    try {
      const asked = { ...settings(), model: this.model };
      if (this.finish === "stop")
        this.view.append([...(asked.stop[0] ?? "")].map((text) => ({ text })));
      const resumed = seed === null && this.known?.length === this.length;
      this.seed = resumed ? this.seed : (seed ?? newSeed());
      await draw([this], { ...asked, ...this.rest(), seed: resumed ? null : this.seed });
    } catch (problem) {
      complain(problem);
    }
  }

  /** The state to go on from, and the text since. */
  rest() {
    return this.known
      ? { state: this.known.state, prompt: this.text(this.known.length) }
      : { state: null, prompt: this.prompt + this.text() };
  }

  take({ characters, finish, state }) {
    this.view.append(characters);
    if (!finish) return;
    this.finish = finish;
    if (finish === "length" && state) this.known = { length: this.length, state };
    this.view.paint();
    this.show();
  }

  /** The line over the text, and which buttons can be used. */
  show(drawing = false) {
    this.element.setAttribute("aria-busy", drawing);
    const { bits, count } = costOf(this.view.characters);
    const parts = [this.seed !== undefined && `seed ${this.seed}`];
    if (!drawing && count)
      parts.push(`${this.length.toLocaleString("en")} characters`, `${bits.toFixed(2)} bits each`);
    this.figures.textContent = parts.filter(Boolean).join(" · ");
    const [more, undo, copy] = this.buttons;
    more.disabled = drawing;
    undo.disabled = drawing || !this.past.length;
    undo.hidden = !this.past.length;
    copy.disabled = drawing;
  }
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
    const made = Array.from({ length: asked.samples }, (_, n) => new Sample(prompt, n, asked.samples));
    for (const sample of made) Object.assign(sample, { seed: drawn, model: asked.model });
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
    for await (const characters of backend.score({ model: $("model").value, text: $("text").value }, signal)) {
      view.append(characters.slice(0, Math.max(0, MOST_SHOWN - all.length)));
      for (const each of characters) all.push(each);
      article.hidden = false;
    }
    view.paint();
    $("scoring").textContent = "";
    const { bits, count } = costOf(all);
    if (!count) throw new Error("A score needs two characters or more that the model knows.");
    const shown = all.length > MOST_SHOWN ? ` The first ${MOST_SHOWN.toLocaleString("en")} are shown.` : "";
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

/** A slider beside the number of a field, for those who point. */
function addSlider(field, most, step) {
  const slider = add(field.parentElement, "input", "", { type: "range", min: 0, max: most, step });
  slider.value = field.value;
  slider.tabIndex = -1; // the number takes the keyboard
  slider.setAttribute("aria-hidden", "true");
  field.parentElement.insertBefore(slider, field.nextElementSibling);
  slider.oninput = () => (field.value = Math.max(Number(field.min), Number(slider.value)));
  field.oninput = () => (slider.value = field.value);
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
for (const [id, form] of [["prompt", "request"], ["text", "scored"]]) {
  $(id).onkeydown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $(form).requestSubmit();
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
