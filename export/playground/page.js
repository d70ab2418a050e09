// What the page's parts share: its elements, the settings in its form, and the one thing that runs.

export const $ = (id) => document.getElementById(id);
let work = null; // what runs now, and how it is stopped

export function add(parent, tag, content = "", properties = {}) {
  const element = document.createElement(tag);
  element.textContent = content;
  Object.assign(element, properties);
  parent.append(element);
  return element;
}

export function complain(problem) {
  $("error").textContent = problem?.message ?? "";
  $("error").hidden = !problem;
}

/**
 * Do something that can be stopped, one such at a time; its errors are shown in one line.
 * @returns {Promise<boolean>} whether there was none
 */
export async function run(status, doing) {
  while (work) await halt(); // two that wait for the same go one after the other
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

export async function halt() {
  work?.control.abort();
  await work?.done;
}

/** The form's settings; an error names the field. */
export function settings() {
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
  const stop = form.stop.value.replace(
    /\\([nt\\])/g,
    (_, c) => ({ n: "\n", t: "\t", "\\": "\\" })[c],
  );
  return { ...given, stop: stop ? [stop] : [] };
}

export function seed() {
  const text = $("request").elements.seed.value.trim();
  if (!text) return newSeed();
  if (!/^\d{1,20}$/.test(text) || BigInt(text) >= 2n ** 64n)
    throw new Error("The seed is a whole number from 0 to 2^64 - 1, or empty for a new one.");
  return BigInt(text);
}

export const newSeed = () => BigInt(crypto.getRandomValues(new Uint32Array(1))[0]);

/** A slider beside the number of a field, for those who point. */
export function addSlider(field, most, step) {
  const slider = add(field.parentElement, "input", "", { type: "range", min: 0, max: most, step });
  slider.value = field.value;
  slider.tabIndex = -1; // the number takes the keyboard
  slider.setAttribute("aria-hidden", "true");
  field.parentElement.insertBefore(slider, field.nextElementSibling);
  slider.oninput = () => (field.value = Math.max(Number(field.min), Number(slider.value)));
  field.oninput = () => (slider.value = field.value);
}
