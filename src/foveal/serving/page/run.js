// The second page: the run behind the model, with the uncertainty of each figure and what was left out.

import * as api from "./api.js";
import { byId, count, el, interval, percent, track } from "./elements.js";

/** Headline figures: key in `test`, title, what it says. */
const FIGURES = [
  ["accuracy", "Accuracy", "of the test images are right"],
  ["balanced_accuracy", "Balanced accuracy", "the mean over the classes"],
  ["map", "mAP", "average precision, the mean over the labels"],
  ["micro_f1", "Micro F1", "precision and recall together, over all decisions"],
  ["macro_f1", "Macro F1", "precision and recall together, the mean over the classes"],
  ["miou", "Mean IoU", "overlap with the true regions, the mean over the classes"],
  ["boundary_f1", "Boundary F1", "are the outlines in the right place?"],
  ["pixel_accuracy", "Pixel accuracy", "of the pixels are right; large classes dominate it"],
];

async function start() {
  let run;
  try {
    run = await api.run();
  } catch (error) {
    byId("lead").textContent = `${error.message}. ${error.hint}.`;
    return;
  }
  const { data, split, strategy } = run;
  byId("title").textContent = data.name;
  const excluded = data.excluded ? `, ${data.excluded} left out` : "";
  byId("lead").textContent =
    `${count(data.classes.length, "class", "classes")}, ${count(data.used, "image")} used${excluded}: ` +
    `${split.train} to train, ${split.val} to calibrate, ${split.test} to test. Strategy: ${strategy.name}.`;
  byId("content").append(figures(run), ...[await drift(), perClass(run), confusion(run), leftOut(run), findings(run)].filter(Boolean));
}

function panel(title, ...children) {
  return el("section", { class: "panel", "aria-label": title }, el("h2", {}, title), ...children);
}

function scrolling(title, table) {
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title }, table);
}

function figures({ test, test_looks: looks, delivery, shortcomings }) {
  const cards = FIGURES.filter(([key]) => test[key] !== undefined && test[key] !== null).map(([key, title, words]) => {
    const bounds = test[`${key}_ci95`];
    return el(
      "div",
      {},
      el("dt", {}, title),
      el("dd", { class: "big" }, percent(test[key])),
      el("dd", {}, bounds ? `95 % interval ${interval(bounds)}` : "no interval"),
      el("dd", { class: "soft small" }, words),
    );
  });
  const looked =
    looks > 1
      ? `This was evaluation ${looks} on these test images: each one, and each choice made after it, biases the figures upwards.`
      : "It was the first evaluation on these test images.";
  const folds = `Each of ${count(test.n, "image")} was predicted by a model that had not seen it (cross-validation).`;
  const words = test.method === "cv" ? folds : test.n ? `Measured on ${count(test.n, "test image")} that the model had not seen. ${looked}` : "No images were held out: this run does not show how well the model does.";
  const notes = Object.entries(shortcomings).map(([word, text]) => el("p", { class: "notice" }, `${word}: ${text}`));
  return panel("How well it does", el("dl", { class: "figures" }, ...cards), el("p", {}, `${words} ${delivery}`), ...notes);
}

async function drift() {
  const found = await api.drift().catch(() => null);
  if (!found?.validation) return null;
  const rate = percent(found.false_alarm_rate, 0);
  const unknown = found.unknown ? `, ${found.unknown} of them unlike what it learned` : "";
  const words = `${count(found.images, "image")} since the server started${unknown}.`;
  if (!found.last_window) {
    const waiting = `Scores are compared with those at training time once there are ${found.window} of them.`;
    return panel("In use", el("p", {}, `${words} ${waiting}`));
  }
  const verdict = found.alarm
    ? el("p", { class: "notice" }, `The scores of the last ${found.window} images differ from those at training time: the figures above may not hold for them.`)
    : el("p", {}, `The scores of the last ${found.window} images do not differ measurably from those at training time.`);
  const method = `Such a difference comes by chance with probability ${found.p_value.toFixed(3)}. Of windows of ${found.window} images like those of the training at most ${rate} are reported; so far ${found.alarms} of ${found.windows} were.`;
  return panel("In use", el("p", {}, words), verdict, scores(found), el("p", { class: "soft small" }, method));
}

/** The two histograms of scores as a table with bars. */
function scores({ bounds, validation, last_window: last }) {
  const share = (counts, at) => counts[at] / counts.reduce((sum, n) => sum + n, 0);
  const filled = [...validation.keys()].filter((at) => validation[at] || last[at]);
  const rows = filled.map((at) => {
    const [low, high] = [at ? bounds[at - 1] : 0, bounds[at] ?? 1];
    const cells = [share(validation, at), share(last, at)].map((part) =>
      el("td", {}, el("div", { class: "meter" }, percent(part), track(part))),
    );
    return el("tr", {}, el("th", { scope: "row" }, `${+(100 * low).toFixed(1)}–${+(100 * high).toFixed(1)}\u00a0%`), ...cells);
  });
  const head = ["Probability of the predicted class", "Validation images", "Last window"].map((name) => el("th", { scope: "col" }, name));
  const title = "Scores at training time and now";
  const table = el("table", {}, el("caption", { class: "visually-hidden" }, title), el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
  return scrolling(title, table);
}

function perClass({ test }) {
  if (!test.n || !test.per_class?.length) return null;
  const isMask = test.per_class[0].iou !== undefined;
  const [key, title] = isMask ? ["iou", "IoU"] : ["recall", "Recall"];
  const bounds = `${key}_ci95`;
  const rows = test.per_class.map((row) => {
    const known = row[key] !== null && row[key] !== undefined && row[bounds];
    return el(
      "tr",
      {},
      el("th", { scope: "row" }, row.label),
      el("td", { class: "number" }, row.n === undefined ? "–" : String(row.n)),
      isMask ? null : el("td", { class: "number" }, percent(row.precision)),
      el("td", { class: "number" }, percent(row[key])),
      el("td", { class: "number" }, interval(row[bounds])),
      el("td", { class: "hide-small" }, known ? whisker(row[key], row[bounds]) : ""),
    );
  });
  const heads = ["Class", "Test images", ...(isMask ? [] : ["Precision"]), title, "95 % interval"];
  const head = el("tr", {}, ...heads.map((name, at) => el("th", { scope: "col", class: at ? "number" : "" }, name)), el("th", { scope: "col", class: "hide-small" }, `${title}, 0 to 100 %`));
  const table = el("table", {}, el("caption", { class: "visually-hidden" }, "Figures of each class"), el("thead", {}, head), el("tbody", {}, ...rows));
  return panel("Class by class", scrolling("Figures of each class", table));
}

function whisker(at, [low, high]) {
  const drawn = el("div", { class: "whisker", "aria-hidden": "true" }, el("i"), el("b"));
  for (const [name, value] of Object.entries({ at, low, high })) drawn.style.setProperty(`--${name}`, value);
  return drawn;
}

function confusion({ test, data }) {
  if (!test.n || !test.confusion?.length || data.classes.length > 100) return null;
  const names = test.per_class?.map((row) => row.label) ?? data.classes;
  const head = el("tr", {}, el("th", { scope: "col" }, "true class ↓ predicted as →"), ...names.map((name) => el("th", { scope: "col" }, name)));
  const rows = test.confusion.map((cells, truth) => {
    const total = Math.max(1, cells.reduce((sum, n) => sum + n, 0));
    const shown = cells.map((n, predicted) => {
      const cell = el("td", { class: n === 0 ? "zero" : truth === predicted ? "" : "wrong" }, String(n));
      cell.style.setProperty("--share", n / total);
      return cell;
    });
    return el("tr", {}, el("th", { scope: "row" }, names[truth]), ...shown);
  });
  const table = el("table", { class: "confusion" }, el("caption", { class: "visually-hidden" }, "Confusion matrix"), el("thead", {}, head), el("tbody", {}, ...rows));
  return panel("Confusion matrix", scrolling("Confusion matrix", table));
}

function leftOut({ left_out: files, left_out_counts: counts }) {
  const total = Object.values(counts).reduce((sum, n) => sum + n, 0);
  if (!total) return panel("What was left out", el("p", {}, "Nothing: every image was used."));
  const chips = Object.entries(counts).map(([reason, n]) => el("span", { class: "chip" }, `${reason}: ${n}`));
  const rows = files.map((file) =>
    el("tr", {}, el("th", { scope: "row" }, file.path), el("td", {}, file.label ?? "–"), el("td", {}, file.reason), el("td", {}, file.detail)),
  );
  const head = el("tr", {}, ...["File", "Label", "Reason", "In words"].map((name) => el("th", { scope: "col" }, name)));
  const table = el("table", {}, el("caption", { class: "visually-hidden" }, "Files that were left out"), el("thead", {}, head), el("tbody", {}, ...rows));
  const more = total > files.length ? el("p", { class: "soft" }, `and ${total - files.length} more: see split.csv of the run.`) : null;
  return panel("What was left out", el("p", {}, ...chips), scrolling("Files that were left out", table), ...(more ? [more] : []));
}

function findings({ findings: found }) {
  if (!found.length) return null;
  const rows = found.map((finding) =>
    el("li", { class: finding.severity }, el("b", {}, finding.severity), ` ${finding.message}`, el("br"), el("span", { class: "soft" }, finding.hint)),
  );
  return panel("What the audit found", el("ul", { class: "findings" }, ...rows));
}

start();
