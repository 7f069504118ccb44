// The images of a group as a list box: arrows move, space selects; one of them takes part in the order of Tab.

import { el } from "./elements.js";
import { picture } from "./label-images.js";

export class Grid {
  /** `onChange` is told that the selection changed, `onKey` each other key, `onView` an image to show large. */
  constructor(element, { onChange, onKey, onView }) {
    this.element = element;
    this.images = [];
    this.tiles = [];
    this.at = 0;
    this.onChange = onChange;
    this.onView = onView;
    element.addEventListener("click", (event) => this.click(event));
    element.addEventListener("dblclick", (event) => {
      const index = this.indexOf(event.target);
      if (index >= 0) onView(this.images[index]);
    });
    element.addEventListener("keydown", (event) => {
      if (!this.move(event)) onKey(event);
    });
  }

  show(images) {
    this.images = images.map((image) => ({ ...image }));
    this.tiles = this.images.map((image, index) => this.tile(image, index));
    this.at = 0;
    this.element.replaceChildren(...this.tiles);
    this.element.hidden = images.length === 0;
    this.onChange();
  }

  tile(image, index) {
    const copies = image.copies ? `, and ${image.copies} nearly the same` : "";
    return el(
      "div",
      { class: "tile", role: "option", "aria-selected": String(image.selected), "aria-label": image.name + copies, title: image.name, tabindex: index === 0 ? 0 : -1 },
      picture(image.image),
      el("span", { class: "tick", "aria-hidden": "true" }, "✓"),
      image.copies ? el("span", { class: "copies", "aria-hidden": "true" }, `+${image.copies} alike`) : null,
    );
  }

  get selected() {
    return this.images.filter((image) => image.selected);
  }

  get others() {
    return this.images.filter((image) => !image.selected);
  }

  get current() {
    return this.images[this.at];
  }

  select(index, selected) {
    this.images[index].selected = selected;
    this.tiles[index].setAttribute("aria-selected", String(selected));
  }

  toggleAll() {
    const all = this.selected.length < this.images.length;
    this.images.forEach((_, index) => this.select(index, all));
    this.onChange();
  }

  focus(index = this.at) {
    if (!this.tiles.length) return;
    this.tiles[this.at].tabIndex = -1;
    this.at = index;
    this.tiles[index].tabIndex = 0;
    this.tiles[index].focus();
  }

  indexOf(target) {
    return this.tiles.indexOf(target.closest(".tile"));
  }

  click(event) {
    const index = this.indexOf(event.target);
    if (index < 0) return;
    const selected = !this.images[index].selected;
    const [from, to] = event.shiftKey ? [Math.min(this.at, index), Math.max(this.at, index)] : [index, index];
    for (let n = from; n <= to; n += 1) this.select(n, selected);
    this.focus(index);
    this.onChange();
  }

  columns() {
    return getComputedStyle(this.element).gridTemplateColumns.split(" ").length;
  }

  /** Whether a key was one of those that move or select. */
  move(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    if (event.key === " ") {
      this.select(this.at, !this.current.selected);
      this.onChange();
    } else {
      const steps = { ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: () => -this.columns(), ArrowDown: () => this.columns(), Home: () => -this.at, End: () => this.images.length - 1 - this.at };
      if (!steps[event.key]) return false;
      const before = this.at;
      const index = this.at + steps[event.key]();
      if (index >= 0 && index < this.images.length) {
        this.focus(index);
        if (event.shiftKey) {
          this.select(index, this.images[before].selected);
          this.onChange();
        }
      }
    }
    event.preventDefault();
    return true;
  }
}
