// The page of `foveal label`: shows a group, sends each action, and shows what the server answers.

import * as api from "./api.js";
import { byId, count, el } from "./elements.js";
import { Grid } from "./label-grid.js";
import { picture } from "./label-images.js";
import { drawClasses, drawGroups, drawQuick, key } from "./label-lists.js";

const POLL = 1000;

let shown = null; // the last answer
let reviewed = null; // the class that is reviewed, in place of a group
let busy = false;

const grid = new Grid(byId("grid"), { onChange: tellSelection, onKey: press, onView: view });
const keys = {
  a: () => grid.toggleAll(),
  n: () => byId("name").focus(),
  s: split,
  m: merge,
  l: later,
  x: leaveOut,
  u: undo,
  v: () => view(grid.current),
  "?": () => byId("help").showModal(),
  Enter: accept,
  Escape: () => reviewed && open(),
};

async function start() {
  try {
    await request(() => api.labelling());
  } catch (error) {
    byId("token-form").hidden = error.status !== 401;
    byId("lead").textContent = error.status === 401 ? "" : `${error.message}. ${error.hint}`;
    return;
  }
  byId("token-form").hidden = true;
  poll();
}

/** While images are read, the page follows; the images that are shown stay. */
function poll() {
  if (!shown.progress.reading) return;
  setTimeout(async () => {
    if (!busy) {
      try {
        const group = reviewed ? null : shown.current?.group.name;
        const answer = await api.labelling(group).catch((error) => (error.status === 409 ? api.labelling() : Promise.reject(error)));
        if (!busy) draw(answer, { keep: true });
      } catch (error) {
        fail(error);
      }
    }
    poll();
  }, POLL);
}

/** One request at a time, so that what is shown is what an action is about. */
async function request(ask) {
  if (busy) return false;
  const again = shown !== null;
  busy = true;
  document.body.setAttribute("aria-busy", "true");
  try {
    const answer = await ask();
    byId("error").textContent = "";
    reviewed = null;
    draw(answer);
    if (grid.tiles.length) grid.focus(0);
    else if (again) byId("title").focus();
    if (answer.done) byId("status").textContent = answer.done;
    return true;
  } finally {
    busy = false;
    document.body.removeAttribute("aria-busy");
  }
}

async function act(action) {
  const inReview = reviewed;
  try {
    if (!(await request(() => api.act(action)))) return;
    const { done } = shown;
    if (inReview && shown.progress.classes.some((c) => c.label === inReview)) {
      await review(inReview);
      byId("status").textContent = done ?? "";
    }
  } catch (error) {
    if (error.status === 409) await open();
    fail(error);
  }
}

function fail(error) {
  byId("error").textContent = `${error.message}. ${error.hint}`;
}

async function open(group) {
  try {
    await request(() => api.labelling(group));
    byId("status").textContent = "";
  } catch (error) {
    if (error.status === 409 && group) await open();
    else fail(error);
  }
}

function draw(answer, { keep = false } = {}) {
  const before = shown?.current;
  shown = answer;
  const { progress, current } = answer;
  byId("side").hidden = false;
  byId("saved").textContent = `Saved to ${progress.table}`;
  const { undo: undoable } = progress;
  byId("undo").disabled = undoable === null;
  byId("undo").replaceChildren("Undo", key("U"));
  byId("undo").title = undoable ?? "";
  drawReading(progress);
  drawClasses(progress, reviewed, review);
  drawGroups(progress, reviewed ? null : current?.group.name, open);
  if (reviewed) return;
  drawQuick(progress, current?.group.proposal, label);
  const same = keep && before && current && before.group.name === current.group.name && before.images.length === current.images.length;
  if (!same) {
    grid.show(current?.images ?? []);
    byId("name").value = "";
    if (keep && document.activeElement === document.body) grid.focus(0);
  }
  drawHead(progress, current);
}

function drawReading({ reading, read, files }) {
  const bar = byId("reading");
  bar.hidden = !reading;
  bar.max = files;
  bar.value = read;
  bar.setAttribute("aria-label", `${read} of ${files} files read`);
}

function drawHead(progress, current) {
  byId("assign").hidden = !current;
  byId("group-tools").hidden = false;
  byId("review-tools").hidden = true;
  byId("finished").hidden = true;
  if (!current) {
    drawEmpty(progress);
    return;
  }
  const { group, similar } = current;
  byId("title").textContent = group.proposal ? `${count(group.images, "image")}, probably ${group.proposal}` : count(group.images, "similar image");
  byId("lead").replaceChildren(
    ...(group.proposal
      ? ["Correct the selection", el("span", { class: "hint" }, ", then press ", el("kbd", {}, "Enter")), ". What looks out of place comes first."]
      : ["Deselect what does not belong, then name the rest. What looks out of place comes first."]),
  );
  byId("split").replaceChildren("Split", key("S"));
  byId("split").disabled = group.images < 2;
  byId("merge").replaceChildren("Merge with", ...(similar ? [picture(similar.cover, `a group of ${similar.images}`)] : [" …"]), key("M"));
  byId("merge").disabled = !similar;
  byId("later").replaceChildren("Later", key("L"));
  byId("leave-out").replaceChildren("Leave out", key("X"));
  byId("name").placeholder = group.proposal ?? "such as beach";
}

function drawEmpty(progress) {
  if (progress.failure) {
    byId("title").textContent = "Images can't be read";
    byId("lead").textContent = progress.failure;
  } else if (progress.reading) {
    byId("title").textContent = "Reading images …";
    byId("lead").textContent = `${progress.read} of ${count(progress.files, "file")}. The first group appears within seconds.`;
  } else {
    byId("title").textContent = "Every image has a label";
    byId("lead").textContent = `${count(progress.labelled, "image")} in ${count(progress.classes.length, "class", "classes")}${progress.left_out ? `, ${progress.left_out} left out` : ""}${progress.refused ? `, ${count(progress.refused, "file")} not readable` : ""}.`;
    byId("finished").replaceChildren(el("p", {}, "Next: stop foveal with Ctrl-C, and train."), el("pre", {}, `foveal train ${progress.table}`), el("p", { class: "soft" }, "A class opens for review where its name is chosen."));
    byId("finished").hidden = false;
  }
}

/** How many images an action would be about. */
function tellSelection() {
  const selected = grid.selected.length;
  const typed = byId("name").value.trim();
  const proposal = reviewed ? null : shown?.current?.group.proposal;
  const what = typed || proposal;
  byId("apply").textContent = what ? `Label ${selected} as ${what.length > 18 ? `${what.slice(0, 17)}…` : what}` : `Label ${count(selected, "image")}`;
  for (const id of ["apply", "take-back", "review-out", "leave-out"]) byId(id).disabled = selected === 0;
  byId("grid").classList.toggle("reviewing", reviewed !== null);
  byId("toggle-all").replaceChildren(selected < grid.images.length ? "Select all" : "Select none", key("A"));
  byId("grid").setAttribute("aria-label", `Images, ${selected} of ${grid.images.length} selected`);
}

const numbers = (images) => images.map((image) => image.image);

function label(name) {
  const images = numbers(grid.selected);
  const others = reviewed ? [] : numbers(grid.others);
  return act({ do: "label", label: name, images, others });
}

function accept() {
  const proposal = reviewed ? null : shown.current?.group.proposal;
  if (proposal && grid.selected.length) label(proposal);
  else byId("name").focus();
}

function group() {
  return reviewed ? null : shown.current?.group.name;
}

function split() {
  if (group() && shown.current.group.images > 1) act({ do: "split", group: group() });
}

function merge() {
  if (group() && shown.current.similar) act({ do: "merge", group: group(), other: shown.current.similar.name });
}

function later() {
  if (group()) act({ do: "put_off", group: group() });
}

function leaveOut() {
  act({ do: "leave_out", images: numbers(grid.selected) });
}

function undo() {
  if (shown.progress.undo !== null) act({ do: "undo" });
}

async function review(name) {
  if (busy) return;
  busy = true;
  try {
    const found = await api.review(name);
    reviewed = name;
    draw(shown, { keep: true });
    drawQuick(shown.progress, null, label);
    byId("assign").hidden = false;
    byId("finished").hidden = true;
    byId("group-tools").hidden = true;
    byId("review-tools").hidden = false;
    byId("title").textContent = `${name}: ${count(found.total, "image")}`;
    const part = found.images.length < found.total ? ` The first ${found.images.length} are shown.` : "";
    byId("lead").textContent = `Those least like the rest come first. Select what is wrong, then give it another label.${part}`;
    byId("name").value = "";
    byId("name").placeholder = "another label";
    byId("status").textContent = "";
    grid.show(found.images);
    grid.focus(0);
  } catch (error) {
    fail(error);
  } finally {
    busy = false;
  }
}

async function view(image) {
  if (!image) return;
  byId("preview-title").textContent = image.name;
  byId("preview-image").removeAttribute("src");
  byId("preview-image").alt = image.name;
  byId("preview").showModal();
  try {
    byId("preview-image").src = URL.createObjectURL(await api.image(image.image, { large: true }));
  } catch (error) {
    byId("preview-title").textContent = `${image.name}: ${error.message}`;
  }
}

/** Keys hold while the images have the focus, so that they disturb no screen reader elsewhere. */
function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const digit = /^[1-9]$/.test(event.key) ? shown.progress.classes[Number(event.key) - 1] : null;
  const known = keys[event.key] ?? keys[event.key.toLowerCase()];
  if (digit) label(digit.label);
  else if (known) known();
  else return;
  event.preventDefault();
}

const onClick = {
  undo, split, merge, later, "leave-out": leaveOut, "review-out": leaveOut,
  "toggle-all": () => grid.toggleAll(),
  back: () => open(),
  "take-back": () => act({ do: "take_back", images: numbers(grid.selected) }),
  rename: () => {
    byId("new-name").value = reviewed;
    byId("renaming").showModal();
  },
  "rename-close": () => byId("renaming").close(),
  "help-open": () => byId("help").showModal(),
  "help-close": () => byId("help").close(),
  "preview-close": () => byId("preview").close(),
};
for (const [id, listener] of Object.entries(onClick)) byId(id).addEventListener("click", listener);
byId("preview").addEventListener("close", () => {
  URL.revokeObjectURL(byId("preview-image").src);
  grid.focus();
});
byId("name").addEventListener("input", tellSelection);
byId("name").addEventListener("keydown", (event) => {
  if (event.key === "Escape") grid.focus();
});
byId("name-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = byId("name").value.trim() || (reviewed ? "" : (shown.current?.group.proposal ?? ""));
  if (name) label(name);
  else byId("name").focus();
});
byId("rename-form").addEventListener("submit", async () => {
  const old = reviewed;
  await act({ do: "rename", label: old, new: byId("new-name").value });
});
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  api.setToken(byId("token").value.trim());
  start();
});
start();
