// The table of predictions: sorted, filtered, downloaded.

import { answerOf, byId, download, el, percent, track } from "./elements.js";

const COLUMNS = [
  { key: "name", title: "Image", value: (item) => item.name.toLowerCase() },
  { key: "label", title: "Prediction", value: (item) => item.answer?.label?.toLowerCase() ?? "￿" },
  { key: "share", title: "Probability", value: (item) => shareOf(item) ?? -1 },
  { key: "set", title: "Prediction set", value: (item) => item.answer?.set?.length ?? 0, small: true },
];

/** The calibrated probability; of a mask the share of its largest class. */
export const shareOf = (item) => item.answer?.probability ?? item.answer?.shares?.[0]?.share;
export const isUnsure = (item) => (item.answer?.set?.length ?? 0) > 1;

function blank(event) {
  event.target.replaceWith(el("span", { class: "blank" }));
}

function set(answer) {
  const classes = answer?.set ?? [];
  if (classes.length === 1) return [el("span", { class: "soft" }, "only this one")];
  return classes.map((name) => el("span", { class: "chip" }, name));
}

export class Table {
  /** `onSelect` is told the item of a row. */
  constructor(onSelect, { masks }) {
    this.items = [];
    this.selected = null;
    this.sort = { key: "name", down: false, given: false };
    this.onSelect = onSelect;
    this.columns = masks ? COLUMNS.filter((column) => column.key !== "set") : COLUMNS;
    if (masks) this.columns[2] = { ...this.columns[2], title: "Share of the pixels" };
    this.head();
    for (const id of ["filter-name", "filter-label", "filter-kind"]) byId(id).addEventListener("input", () => this.draw());
  }

  head() {
    const cells = this.columns.map((column) => {
      const arrow = el("span", { class: "arrow", "aria-hidden": "true" });
      const button = el("button", { type: "button", onclick: () => this.sortBy(column.key) }, column.title, arrow);
      return el("th", { scope: "col", id: `sort-${column.key}`, class: column.small ? "hide-small" : "" }, button);
    });
    byId("head").replaceChildren(...cells);
  }

  sortBy(key) {
    const again = this.sort.given && this.sort.key === key;
    this.sort = { key, down: again && !this.sort.down, given: true };
    for (const column of this.columns) {
      const cell = byId(`sort-${column.key}`);
      if (column.key === key) cell.setAttribute("aria-sort", this.sort.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    }
    this.draw();
  }

  /** The items that the filter leaves, in the order of the table. */
  shown() {
    const name = byId("filter-name").value.trim().toLowerCase();
    const label = byId("filter-label").value;
    const kind = byId("filter-kind").value;
    const kinds = {
      unsure: isUnsure,
      unknown: (item) => item.answer?.unknown === true,
      corrected: (item) => item.corrected !== undefined,
      error: (item) => item.error !== undefined,
    };
    const left = this.items.filter(
      (item) =>
        item.name.toLowerCase().includes(name) &&
        (!label || item.answer?.label === label || item.answer?.labels?.includes(label)) &&
        (!kind || kinds[kind](item)),
    );
    if (!this.sort.given) return left;
    const { value } = this.columns.find((column) => column.key === this.sort.key);
    const sign = this.sort.down ? -1 : 1;
    return left
      .map((item, index) => ({ item, index, by: value(item) }))
      .sort((a, b) => sign * (a.by < b.by ? -1 : a.by > b.by ? 1 : 0) || a.index - b.index)
      .map(({ item }) => item);
  }

  /** Draws the rows anew, at most once a frame. */
  draw() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = null;
      const shown = this.shown();
      byId("rows").replaceChildren(...shown.map((item) => this.row(item)));
      byId("none").hidden = shown.length > 0;
    });
  }

  row(item) {
    const { answer } = item;
    const choose = () => this.onSelect(item);
    const button = el("button", { type: "button", "aria-pressed": item === this.selected ? "true" : "false" }, item.name);
    const image = item.url
      ? el("img", { src: item.url, alt: "", width: 48, height: 48, loading: "lazy", onerror: blank })
      : el("span", { class: "blank" });
    const share = shareOf(item);
    const cells = {
      name: el("th", { scope: "row" }, el("div", { class: "picture" }, image, button)),
      label: el("td", {}, ...this.prediction(item)),
      share: el("td", {}, share === undefined ? "" : el("div", { class: "meter" }, percent(share), track(share))),
      set: el("td", { class: "hide-small" }, ...set(answer)),
    };
    return el(
      "tr",
      { class: item === this.selected ? "selected" : "", onclick: choose },
      ...this.columns.map((column) => cells[column.key]),
    );
  }

  prediction(item) {
    if (item.error) return [el("span", { class: "chip bad" }, "not readable")];
    if (!item.answer) return [el("span", { class: "soft" }, "waiting …")];
    const parts = [answerOf(item.answer)];
    if (item.corrected) parts.push(" ", el("span", { class: "chip good" }, `corrected: ${item.corrected}`));
    if (item.answer.unknown) parts.push(" ", el("span", { class: "chip warn" }, "unlike what it learned"));
    return parts;
  }

  /** What is shown, as CSV; cells that a spreadsheet would run as a formula get an apostrophe. */
  csv() {
    const cell = (value) => {
      const text = value === undefined || value === null ? "" : String(value);
      const safe = /^'*[=+\-@\t\r\n＝＋－＠]./su.test(text) && !/^[+-]?\d+(\.\d+)?$/.test(text) ? `'${text}` : text;
      return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
    };
    const rows = this.shown().map((item) => [
      item.name,
      item.answer?.labels ? JSON.stringify(item.answer.labels) : item.answer?.label,
      shareOf(item),
      item.answer?.set?.join("|"),
      item.answer?.unknown,
      item.error?.code,
      item.corrected,
    ]);
    const head = ["name", "label", "probability", "set", "unknown", "error", "corrected"];
    download("predictions.csv", "text/csv", [head, ...rows].map((row) => row.map(cell).join(",") + "\n").join(""));
  }

  json() {
    const predictions = this.shown().map((item) => {
      const { map, mask, ...kept } = item.answer ?? {};
      const error = item.error ? { code: item.error.code, detail: item.error.message } : undefined;
      return { ...kept, name: item.name, error, corrected: item.corrected };
    });
    download("predictions.json", "application/json", `${JSON.stringify({ schema: 1, predictions }, null, 1)}\n`);
  }
}
