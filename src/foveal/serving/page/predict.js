// The first page: images come in, a few at a time go to the server, and the table and the details show the answers.

import * as api from "./api.js";
import { photographing } from "./camera.js";
import { Details } from "./details.js";
import { byId, count, el } from "./elements.js";
import { Table } from "./table.js";

const AT_ONCE = 4;

let model, table, details;
const waiting = [];
let active = 0;

async function start() {
  try {
    model = await api.model();
  } catch (error) {
    byId("lead").textContent = error.status === 401 ? "" : `${error.message}. ${error.hint}`;
    byId("token-form").hidden = error.status !== 401;
    return;
  }
  byId("token-form").hidden = true;
  const made = model.provenance.made ? `, trained ${model.provenance.made.slice(0, 10)}` : "";
  byId("title").textContent = model.name;
  byId("lead").textContent =
    model.task === "segment"
      ? `A class for each pixel, out of ${model.classes.length}: ${listed(model.classes)}${made}.`
      : model.task === "multi-label"
        ? `Any number of ${count(model.classes.length, "label")}: ${listed(model.classes)}${made}.`
        : `Which of ${count(model.classes.length, "class", "classes")}: ${listed(model.classes)}${made}.`;
  byId("run-link").hidden = !model.has_run;
  table = new Table(select, { masks: model.task === "segment" });
  details = new Details(model, () => table.draw());
  byId("filter-label").append(...model.classes.map((name) => el("option", { value: name }, name)));
}

function listed(classes) {
  return classes.length > 12 ? `${classes.slice(0, 12).join(", ")}, …` : classes.join(", ");
}

function add(files) {
  if (!model || files.length === 0) return;
  const items = [...files].map((file) => ({
    name: file.name || "image",
    file,
    url: file.type.startsWith("image/") && file.type !== "image/svg+xml" ? URL.createObjectURL(file) : null,
  }));
  table.items.push(...items);
  waiting.push(...items);
  byId("results").hidden = false;
  byId("intake").classList.add("compact");
  select(items[0], { scroll: false });
  for (let n = active; n < AT_ONCE; n += 1) work();
}

async function work() {
  active += 1;
  for (let item = waiting.shift(); item; item = waiting.shift()) {
    try {
      item.answer = await api.predict(item.file);
    } catch (error) {
      item.error = error;
    }
    table.draw();
    if (details.item === item) details.draw();
    tell();
  }
  active -= 1;
}

/** How far it is, in the status line that screen readers follow; few words, since each is read. */
function tell() {
  const { items } = table;
  const done = items.filter((item) => item.answer || item.error).length;
  const failed = items.filter((item) => item.error).length;
  const rest = failed ? `, ${failed} not readable` : "";
  byId("status").textContent =
    done < items.length ? `${done} of ${count(items.length, "image")} …` : `${count(items.length, "image")} done${rest}.`;
}

function select(item, { scroll = true } = {}) {
  table.selected = item;
  details.show(item);
  table.draw();
  if (scroll && matchMedia("(max-width: 62rem)").matches) byId("detail").scrollIntoView({ block: "nearest" });
}

function clear() {
  for (const { url } of table.items) if (url) URL.revokeObjectURL(url);
  waiting.length = 0;
  table.items = [];
  table.draw();
  details.show(null);
  byId("results").hidden = true;
  byId("status").textContent = "";
  byId("intake").classList.remove("compact");
  byId("choose").focus();
}

const intake = byId("intake");
byId("choose").addEventListener("click", () => byId("files").click());
byId("files").addEventListener("change", (event) => {
  add(event.target.files);
  event.target.value = "";
});
byId("files").tabIndex = -1;
byId("files").setAttribute("aria-hidden", "true");
document.addEventListener("paste", (event) => add(event.clipboardData?.files ?? []));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  intake.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) intake.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  intake.classList.remove("over");
  add(event.dataTransfer?.files ?? []);
});
byId("csv").addEventListener("click", () => table.csv());
byId("json").addEventListener("click", () => table.json());
byId("clear").addEventListener("click", clear);
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  api.setToken(byId("token").value.trim());
  start();
});
photographing((file) => add([file]));
start();
