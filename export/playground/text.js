// A text on the page: a coloured element for each character; the keyboard reaches one at a time.
import { named } from "./card.js";
import { add } from "./page.js";

const LEVELS = [1, 2, 3, 4, 6, 8]; // bits where a character gets the next colour
const SURPRISE = 4; // bits to which the arrow keys up and down go
/** Bits per character of the characters that were predicted, and how many they are. */
export function costOf(characters) {
  const judged = characters.filter((each) => each.bits !== undefined);
  const bits = judged.reduce((sum, each) => sum + each.bits, 0);
  return { bits: bits / judged.length, count: judged.length };
}

/**
 * The characters of a text in an element. A character is `{text, bits, likely}`: its surprisal, and
 * `[character, probability]` of the likeliest; one that was read and not predicted has neither.
 */
export class TextView {
  /**
   * @param {HTMLElement} element whose elements are the characters
   * @param {Card} card shared by all texts
   * @param {?function(number): Array} actions what can be done at a character; see `Card.open`
   */
  constructor(element, card, actions = null) {
    Object.assign(this, { element, card, actions, characters: [], spans: [] });
    this.places = new Map();
    this.waiting = [];
    const at = (event) => this.places.get(event.target);
    element.addEventListener("pointerover", (event) => {
      if (at(event) !== undefined && event.pointerType !== "touch") card.show(this, at(event));
    });
    element.addEventListener("pointerleave", () => {
      const focused = this.places.get(document.activeElement);
      focused === undefined ? card.hide() : card.show(this, focused);
    });
    element.addEventListener("click", (event) => {
      if (at(event) !== undefined) this.#press(at(event));
    });
    element.addEventListener("focusin", (event) => {
      if (at(event) !== undefined && !this.quiet) card.show(this, at(event));
    });
    element.addEventListener("focusout", () => card.hide());
    element.addEventListener("keydown", (event) => this.#key(event, at(event)));
  }

  /** Add characters; they are shown with the browser's next picture. */
  append(characters) {
    if (!this.waiting.length) requestAnimationFrame(() => this.paint());
    for (const each of characters) {
      this.characters.push(each);
      this.waiting.push(each);
    }
  }

  paint() {
    const piece = document.createDocumentFragment();
    for (const character of this.waiting) this.#span(piece, character);
    this.waiting = [];
    this.element.append(piece);
    if (this.spans.length && !this.stop) this.#rove(0);
  }

  /** Drop the characters from a place on. */
  cut(length) {
    this.paint();
    this.characters.length = length;
    for (const span of this.spans.splice(length)) {
      this.places.delete(span);
      span.remove();
    }
    if (!this.spans.includes(this.stop)) this.stop = null;
    if (this.spans.length && !this.stop) this.#rove(this.spans.length - 1);
    this.card.hide(true);
  }

  /** Show the characters from a place on as those that will be dropped; null: none. */
  dim(from) {
    this.spans.forEach((span, n) => span.classList.toggle("dim", from !== null && n >= from));
  }

  /** Give a character the focus; quietly, without its card. */
  focus(place, quietly = false) {
    this.paint();
    this.#rove(place);
    this.quiet = quietly;
    this.stop.focus();
    this.quiet = false;
  }

  #span(parent, character) {
    const span = add(parent, "i", character.text);
    const level = LEVELS.filter((bits) => character.bits >= bits).length;
    span.className = character.bits === undefined ? "read" : `b${level}`;
    if (character.text === "\n") span.classList.add("n");
    this.places.set(span, this.spans.length);
    this.spans.push(span);
  }

  /** Let Tab reach this character, and no other. */
  #rove(place) {
    for (const name of ["tabindex", "role", "aria-label", "aria-describedby"])
      this.stop?.removeAttribute(name);
    const character = this.characters[place];
    this.stop = this.spans[place];
    this.stop.tabIndex = 0;
    this.stop.setAttribute("role", this.actions ? "button" : "img");
    const bits = character.bits === undefined ? "" : `, ${character.bits.toFixed(1)} bits`;
    this.stop.setAttribute("aria-label", named(character.text) + bits);
    this.stop.setAttribute("aria-describedby", "card");
  }

  #press(place) {
    this.focus(place);
    if (this.actions) this.card.open(this, place, this.actions(place));
  }

  #key(event, place) {
    if (place === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Escape") return this.card.hide(true);
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      return this.#press(place);
    }
    const last = this.spans.length - 1;
    const to = {
      ArrowLeft: Math.max(0, place - 1),
      ArrowRight: Math.min(last, place + 1),
      Home: 0,
      End: last,
      ArrowUp: this.#surprise(place, -1),
      ArrowDown: this.#surprise(place, 1),
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.focus(to);
  }

  #surprise(place, step) {
    for (let next = place + step; next in this.spans; next += step)
      if (this.characters[next].bits >= SURPRISE) return next;
    return place;
  }
}
