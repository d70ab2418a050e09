// The card beside a character: what the model expected there, and what can be done about it.
import { add } from "./page.js";

const NAMES = { " ": "space", "\n": "line end", "\t": "tab", "\u00a0": "fixed space" };

export const named = (character) => NAMES[character] ?? character;
export const percent = (share) => (share < 0.001 ? "<0.1 %" : `${(100 * share).toFixed(1)} %`);

/** What was expected at a character: shown as one points at it, with buttons once it is pressed. */
export class Card {
  constructor(element) {
    this.element = element;
    element.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#back();
      const step = { ArrowDown: 1, ArrowUp: -1, Tab: event.shiftKey ? -1 : 1 }[event.key];
      const buttons = [...element.querySelectorAll("button")];
      if (!step || !buttons.length) return;
      event.preventDefault();
      const next = buttons.indexOf(document.activeElement) + step;
      buttons.at(next % buttons.length).focus();
    });
    addEventListener("pointerdown", (event) => {
      if (this.isOpen && !element.contains(event.target)) this.hide(true);
    });
    addEventListener("scroll", () => !this.isOpen && this.hide(), { passive: true });
    addEventListener("resize", () => this.hide(true));
  }

  /** The card of a character, unless that of another is open. */
  show(view, place) {
    if (!this.isOpen) this.#fill(view, place, null);
  }

  /**
   * The card with buttons.
   * @param {{choose: function(string), others: Array<[string, function()]>}} actions
   */
  open(view, place, actions) {
    this.hide(true);
    this.#fill(view, place, actions);
    this.isOpen = true;
    view.dim(place + 1);
    document.body.classList.add("choosing"); // room to scroll, where the card lies over the text
    const hidden = this.here.getBoundingClientRect().bottom + 16 - this.element.offsetTop;
    if (hidden > 0 && this.element.offsetTop + this.element.offsetHeight >= innerHeight)
      scrollBy(0, hidden);
    this.element.querySelector("button").focus();
  }

  hide(evenOpen = false) {
    if (this.isOpen && !evenOpen) return;
    if (this.isOpen) this.view.dim(null);
    document.body.classList.remove("choosing");
    this.here?.classList.remove("here");
    this.isOpen = false;
    this.here = null;
    this.element.hidden = true;
  }

  #back() {
    const { view, place } = this;
    this.hide(true);
    view.focus(place);
  }

  #fill(view, place, actions) {
    this.here?.classList.remove("here");
    Object.assign(this, { view, place, here: view.spans[place] });
    this.here.classList.add("here");
    const { text, bits, likely = [] } = view.characters[place];
    const card = this.element;
    card.replaceChildren();
    card.setAttribute("role", actions ? "dialog" : "tooltip");
    card.setAttribute("aria-label", actions ? `Go back to ${named(text)}` : "");
    const head = add(card, "p");
    add(head, "b", named(text));
    head.append(bits === undefined ? ": read, not predicted" : `: ${bits.toFixed(2)} bits`);
    const rows = likely.some(([character]) => character === text)
      ? likely
      : bits === undefined
        ? []
        : [...likely, [text, 2 ** -bits]];
    for (const [character, share] of rows)
      this.#row(character, share, character === text, actions?.choose);
    if (actions) {
      const others = add(card, "div", "", { className: "others" });
      for (const [name, act] of actions.others) this.#button(others, name, act);
    }
    card.hidden = false;
    this.#put();
  }

  #row(character, share, own, choose) {
    const active = choose && !own;
    const line = active
      ? this.#button(this.element, "", () => choose(character))
      : add(this.element, "div");
    line.classList.add("row");
    line.classList.toggle("own", own);
    if (active) line.setAttribute("aria-label", `${named(character)} instead, ${percent(share)}`);
    add(line, "code", named(character));
    add(line, "u").style.width = `${100 * share}%`;
    add(line, "span", percent(share));
  }

  #button(parent, name, act) {
    return add(parent, "button", name, {
      type: "button",
      onclick: () => {
        const { view, place } = this;
        this.hide(true);
        view.focus(place, true);
        act();
      },
    });
  }

  #put() {
    const { element: card } = this;
    const at = this.here.getClientRects()[0];
    const left = Math.min(at.left, document.documentElement.clientWidth - card.offsetWidth - 12);
    const below = at.bottom + 10;
    const room = below + card.offsetHeight < innerHeight;
    card.style.left = `${Math.max(8, left)}px`;
    card.style.top = `${room ? below : Math.max(8, at.top - 10 - card.offsetHeight)}px`;
  }
}
