// Images of the folder: fetched with the token when they come into view, a few at a time, and kept for a while.

import * as api from "./api.js";
import { el } from "./elements.js";

const AT_ONCE = 6;
const KEPT = 1500;

const urls = new Map();
const waiting = [];
let active = 0;

const observer = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      observer.unobserve(target);
      waiting.push(target);
    }
    for (let n = active; n < AT_ONCE; n += 1) work();
  },
  { rootMargin: "400px" },
);

/** An `<img>` that shows an image, by its number, as soon as it is near the window. */
export function picture(number, alt = "") {
  const img = el("img", { alt, "data-image": String(number), decoding: "async" });
  const url = urls.get(number);
  if (url) img.src = url;
  else observer.observe(img);
  return img;
}

async function work() {
  active += 1;
  for (let img = waiting.shift(); img; img = waiting.shift()) {
    if (!img.isConnected) continue;
    const number = Number(img.getAttribute("data-image"));
    try {
      img.src = urls.get(number) ?? (await fetched(number));
    } catch (error) {
      img.replaceWith(el("span", { class: "gone" }, error.status === 404 ? "no longer readable" : "not loaded"));
    }
  }
  active -= 1;
}

async function fetched(number) {
  const url = URL.createObjectURL(await api.image(number));
  urls.set(number, url);
  if (urls.size > KEPT) {
    const [oldest, old] = urls.entries().next().value;
    urls.delete(oldest);
    if (!document.querySelector(`img[data-image="${oldest}"]`)) URL.revokeObjectURL(old);
  }
  return url;
}
