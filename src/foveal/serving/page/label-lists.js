// What stands beside the images: classes with their progress, and the groups that are left.

import { byId, count, el, track } from "./elements.js";
import { picture } from "./label-images.js";

const MOST_GROUPS = 60;

/** A key beside what it does; screen readers read the button without it. */
export const key = (text) => el("kbd", { "aria-hidden": "true" }, text);

const hidden = (text) => el("span", { class: "visually-hidden" }, text);

export function drawClasses({ classes, goal }, shown, onReview) {
  const done = classes.filter((c) => c.images >= goal).length;
  byId("goal").textContent = classes.length
    ? `${done} of ${count(classes.length, "class", "classes")} with ${count(goal, "image")} or more`
    : `Aim for ${count(goal, "image")} of each class. The first label makes the first class.`;
  byId("classes").replaceChildren(
    ...classes.map(({ label, images }, index) =>
      el(
        "li",
        {},
        el(
          "button",
          { type: "button", class: images >= goal ? "full" : "", "aria-current": label === shown ? "true" : null, title: label, onclick: () => onReview(label) },
          index < 9 ? key(String(index + 1)) : key("·"),
          el("span", { class: "name" }, label),
          el("span", { class: "value" }, images >= goal ? `${images.toLocaleString("en")} ✓` : `${images} / ${goal}`),
          hidden(": review"),
          track(Math.min(1, images / goal)),
        ),
      ),
    ),
  );
  byId("names").replaceChildren(...classes.map(({ label }) => el("option", { value: label })));
}

let drawn = "";

export function drawGroups({ groups, images, labelled, left_out: out, reading }, current, onOpen) {
  const left = images - labelled - out;
  byId("groups-lead").textContent = left
    ? `${count(left, "image")} without a label. What is most worth labelling comes first.`
    : reading ? "None yet." : "No image is left.";
  const signature = JSON.stringify([groups.slice(0, MOST_GROUPS), current]);
  if (signature === drawn) return;
  drawn = signature;
  byId("groups").replaceChildren(
    ...groups.slice(0, MOST_GROUPS).map((group) => {
      const what = group.proposal ?? "new";
      return el(
        "li",
        {},
        el(
          "button",
          { type: "button", title: what, "aria-current": group.name === current ? "true" : null, onclick: () => onOpen(group.name) },
          picture(group.cover),
          el("span", { class: "size" }, group.images.toLocaleString("en"), hidden(group.images === 1 ? " image: " : " images: ")),
          el("span", { class: "what" }, what),
        ),
      );
    }),
  );
}

/** The known labels as buttons; the first nine have a digit. */
export function drawQuick({ classes }, proposal, onLabel) {
  byId("quick").hidden = classes.length === 0;
  byId("quick").replaceChildren(
    ...classes.slice(0, 30).map(({ label }, index) =>
      el(
        "button",
        { type: "button", class: label === proposal ? "proposed" : "", title: label, onclick: () => onLabel(label) },
        index < 9 ? key(String(index + 1)) : key("·"),
        el("span", {}, label),
      ),
    ),
  );
}
