// A sample on the page: its text, which goes on, or back to any of its characters.
import { $, add, complain, halt, newSeed, settings } from "./page.js";
import { costOf, TextView } from "./text.js";

/** One text: its characters, and a state of the backend after some of them. */
export class Sample {
  constructor(prompt, number, of, card, draw) {
    Object.assign(this, { prompt, number, of, draw, known: null, past: [], finish: null });
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
    return this.view.characters
      .slice(from)
      .map((each) => each.text)
      .join("");
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
    const { view, known, finish, seed, stop } = this;
    this.past.push({ characters: [...view.characters], known, finish, seed, stop });
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
      if (this.finish === "stop") this.view.append([...(this.stop ?? "")].map((text) => ({ text })));
      Object.assign(this, { finish: null, stop: asked.stop[0] });
      const resumed = seed === null && this.known?.length === this.length;
      this.seed = resumed ? this.seed : (seed ?? newSeed());
      await this.draw([this], { ...asked, ...this.rest(), seed: resumed ? null : this.seed });
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
