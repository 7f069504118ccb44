// One image in full: its prediction, how sure it is, where in the image, and what to do when it is wrong.

import * as api from "./api.js";
import { answerOf, byId, el, percent, track } from "./elements.js";

export class Details {
  /** `onChange` is told when an item was corrected. */
  constructor(model, onChange) {
    this.model = model;
    this.onChange = onChange;
    this.place = byId("detail");
    this.item = null;
    this.view = "image";
  }

  show(item) {
    this.item = item;
    this.view = "image";
    this.draw();
  }

  draw() {
    const { item } = this;
    if (!item) {
      this.place.replaceChildren();
      return;
    }
    const body = item.error ? this.failed() : item.answer ? this.answered() : [el("p", { class: "soft" }, "Waiting …")];
    const views = item.answer && this.model.maps ? this.views() : null;
    this.place.replaceChildren(
      el("article", { class: "card" }, views, el("div", { class: "stage" }, ...this.stage()), el("div", { class: "body" }, ...body)),
    );
  }

  views() {
    const names = { image: "Image", heat: "Heat map", likeliest: "Likeliest classes" };
    const buttons = Object.entries(names).map(([view, title]) =>
      el("button", { type: "button", "aria-pressed": String(this.view === view), onclick: () => this.choose(view) }, title),
    );
    return el("div", { class: "segments", role: "group", "aria-label": "What is shown" }, ...buttons);
  }

  async choose(view) {
    const { item } = this;
    this.view = view;
    this.draw();
    this.place.querySelector('[aria-pressed="true"]')?.focus();
    if (view === "image" || item.map || item.mapError) return;
    try {
      item.map = (await api.predict(item.file, { map: true, topk: 1 })).map;
    } catch (error) {
      item.mapError = `${error.message} (${error.hint})`;
    }
    if (this.item === item) this.draw();
  }

  stage() {
    const { item } = this;
    if (this.view !== "image") {
      if (item.mapError) return [el("p", { class: "error" }, item.mapError)];
      if (!item.map) return [el("p", { class: "soft", role: "status" }, "Drawing … the first one takes some seconds.")];
      const what = this.view === "heat" ? `Where ${item.map.label} is probable` : "The likeliest class at each place";
      return [el("img", { src: item.map[this.view], alt: `${what}, over the image ${item.name}` })];
    }
    if (!item.url) return [el("p", { class: "soft" }, "This browser can't show the image.")];
    const image = el("img", { src: item.url, alt: `The image ${item.name}` });
    image.addEventListener("error", () => image.replaceWith(el("p", { class: "soft" }, "This browser can't show the image.")));
    return item.answer?.mask ? [image, this.mask(image)] : [image];
  }

  /** The mask in the colours of its classes, over the image. */
  mask(image) {
    const canvas = el("canvas", { class: "over", role: "img", "aria-label": "The mask, in the colours of its classes" });
    const mask = new Image();
    mask.addEventListener("load", () => {
      const [width, height] = [(canvas.width = mask.naturalWidth), (canvas.height = mask.naturalHeight)];
      const context = canvas.getContext("2d");
      context.drawImage(mask, 0, 0);
      const pixels = context.getImageData(0, 0, width, height);
      const colours = this.model.colours.map((hex) => [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)));
      for (let at = 0; at < pixels.data.length; at += 4) {
        const colour = colours[pixels.data[at]] ?? [128, 128, 128];
        pixels.data.set([...colour, 150], at);
      }
      context.putImageData(pixels, 0, 0);
    });
    mask.src = this.item.answer.mask;
    return canvas;
  }

  failed() {
    const { error, name } = this.item;
    return [
      el("h2", {}, name),
      el("p", {}, el("span", { class: "chip bad" }, error.code), ` ${error.message}`),
      el("p", { class: "soft" }, error.hint),
    ];
  }

  answered() {
    const { answer, name } = this.item;
    const parts = [
      el("div", {}, el("p", { class: "soft small" }, name), el("h2", { class: "answer" }, answerOf(answer)), answer.shares ? el("p", { class: "soft" }, "The class with most pixels") : null),
    ];
    if (answer.unknown) {
      parts.push(el("p", { class: "notice" }, "Unlike anything that this model was trained on: it may be none of its classes."));
      if (answer.p_value !== undefined) {
        const share = (100 * answer.p_value).toFixed(1);
        parts.push(el("p", { class: "soft small" }, `Of images like the training images ${share} % are as unusual.`));
      }
    }
    parts.push(answer.shares ? this.shares(answer) : this.chances(answer));
    if (answer.set?.length) parts.push(this.set(answer));
    if (this.model.corrections) parts.push(this.correction());
    return parts;
  }

  chances(answer) {
    const rows = answer.topk.map(({ label, probability }) =>
      el("li", {}, el("span", {}, label), el("span", { class: "value" }, percent(probability)), track(probability)),
    );
    return el("ul", { class: "chances", "aria-label": "Calibrated probabilities" }, ...rows);
  }

  shares(answer) {
    const rows = answer.shares.map(({ label, share }) => {
      const key = el("span", { class: "key", "aria-hidden": "true" });
      key.style.background = this.model.colours[this.model.classes.indexOf(label)];
      return el("li", {}, el("span", {}, key, label), el("span", { class: "value" }, percent(share)), track(share));
    });
    return el("ul", { class: "chances", "aria-label": "Shares of the pixels" }, ...rows);
  }

  set({ set }) {
    const chips = set.map((name) => el("span", { class: "chip" }, name));
    const words = `For ${percent(this.model.coverage, 0)} of new images such a set is to hold the right class.`;
    return el("div", {}, el("p", {}, "Prediction set ", ...chips), el("p", { class: "soft small" }, words));
  }

  correction() {
    const { item } = this;
    if (item.corrected) {
      return el("p", { role: "status" }, el("span", { class: "chip good" }, "stored"), ` The right label is ${item.corrected}. The next training can use it.`);
    }
    const options = this.model.classes.map((name) => el("option", { value: name, selected: name === item.answer.topk[1]?.label }, name));
    const select = el("select", { id: "right-label" }, ...options);
    const message = el("p", { class: "error", role: "alert" });
    const token = api.hasToken() ? null : el("input", { type: "password", id: "correction-token", autocomplete: "off", required: true });
    const submit = el("button", { class: "primary", type: "submit" }, "Store the correction");
    const store = async (event) => {
      event.preventDefault();
      if (token) api.setToken(token.value.trim());
      submit.disabled = true;
      try {
        await api.correct(item.file, select.value);
        item.corrected = select.value;
        this.onChange(item);
        if (this.item === item) this.draw();
      } catch (error) {
        message.textContent = `${error.message}. ${error.hint}`;
        submit.disabled = false;
      }
    };
    return el(
      "details",
      {},
      el("summary", {}, "This is wrong"),
      el(
        "form",
        { onsubmit: store },
        el("label", { for: "right-label" }, "The right label"),
        select,
        ...(token ? [el("label", { for: "correction-token" }, "The token that foveal printed when it started"), token] : []),
        el("p", { class: "soft small" }, "The image and this label are kept on the server, for the next training."),
        message,
        el("div", {}, submit),
      ),
    );
  }
}
