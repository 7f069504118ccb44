// Elements of the page, made without any HTML text: nothing that a client or a file is called can become markup.

/** An element with properties (`class`, `dataset`-free attributes, `on…` listeners) and children. */
export function el(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "class") element.className = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** 0.987 as `98.7 %`, in one piece; values that round to all or nothing say so: `> 99.9 %`. */
export function percent(value, digits = 1) {
  if (value === null || value === undefined) return "–";
  const least = 10 ** -digits;
  const shown = 100 * value;
  if (value < 1 && shown > 100 - least / 2) return `>\u00a0${(100 - least).toFixed(digits)}\u00a0%`;
  if (value > 0 && shown < least / 2) return `<\u00a0${least.toFixed(digits)}\u00a0%`;
  return `${shown.toFixed(digits)}\u00a0%`;
}

export function interval(bounds) {
  return bounds ? `${(100 * bounds[0]).toFixed(1)}–${(100 * bounds[1]).toFixed(1)}\u00a0%` : "–";
}

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

/** A bar as long as a share; the number stands beside it, so it says nothing to a screen reader. */
export function track(share) {
  const fill = el("i");
  fill.style.setProperty("--share", share);
  return el("div", { class: "track", "aria-hidden": "true" }, fill);
}

/** Offers a text as a file. */
export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** What is predicted for an image: a class, or any number of labels. */
export function answerOf({ label, labels }) {
  return labels ? labels.join(", ") || "none of the labels" : label;
}
