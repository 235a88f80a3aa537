// The card with the answer: classes with bars, "unknown", what went wrong, or what is being waited for.

import { number, percent, text } from "./texts.js";

const MAX_CLASSES_SHOWN = 40;
const WITHOUT_RETRY = ["noPicture", "noCamera"];
const ABOUT_KEYS = ["key", "wrongKey"];

const card = document.getElementById("answer");

/** What the model can tell, before anything was asked. */
export function showStart(classes) {
  const names = classes.slice(0, MAX_CLASSES_SHOWN).map((name) => element("li", name));
  if (classes.length > names.length) {
    names.push(element("li", text("more", { n: number(classes.length - names.length) }), "soft"));
  }
  card.replaceChildren(element("p", text("knows"), "soft"), list("classes", names));
}

/** A line, with or without the sign of work. */
export function showNote(line, isBusy) {
  const note = element("p", line, "soft note");
  note.classList.toggle("busy", isBusy);
  card.replaceChildren(note);
}

/** {label, probability, top, rejected, ms}. */
export function showAnswer({ label, probability, top, rejected, ms }) {
  const head = element("p", rejected ? text("unknown") : label, "label");
  const sure = rejected ? element("p", text("unknownWhy"), "soft") : element("p", percent(probability), "sure");
  const rows = list("bars", top.map(([name, share]) => bar(name, share)));
  rows.classList.toggle("rejected", rejected);
  const latency = element("p", text("latency", { ms: number(ms, ms < 10 ? 1 : 0) }), "soft");
  card.replaceChildren(head, sure, rows, latency);
}

/** A Problem; `again` is offered where trying again may help, `takeKey` where a key is asked for. */
export function showProblem(problem, again = null, takeKey = null) {
  const box = element("div", "", "problem");
  box.setAttribute("role", "alert");
  box.append(element("p", text(problem.kind), "label"));
  box.append(...(ABOUT_KEYS.includes(problem.kind) ? keyForm(takeKey) : advice(problem, again)));
  card.replaceChildren(box);
}

function advice({ kind, detail }, again) {
  const lines = [element("p", text(`${kind}Do`), "soft")];
  if (detail) lines.push(element("p", detail, "soft detail"));
  if (again && !WITHOUT_RETRY.includes(kind)) lines.push(button(text("again"), again));
  return lines;
}

function keyForm(takeKey) {
  const form = element("form", "", "key");
  const label = element("label", text("keyName"));
  const input = document.createElement("input");
  Object.assign(input, { type: "password", autocomplete: "off", required: true });
  label.append(input);
  const send = element("button", text("keySend"), "first");
  form.append(label, send);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    takeKey(input.value.trim());
  });
  return [element("p", text("keyWhat"), "soft"), form];
}

function bar(name, share) {
  const row = element("li", "");
  const meter = element("span", "", "meter");
  meter.append(element("i", ""));
  meter.firstChild.style.width = `${(share * 100).toFixed(2)}%`;
  const title = element("span", name, "name");
  title.title = name;
  row.append(title, element("span", percent(share), "share"), meter);
  return row;
}

function list(className, items) {
  const made = element("ul", "", className);
  made.append(...items);
  return made;
}

function button(label, action) {
  const made = element("button", label);
  made.type = "button";
  made.addEventListener("click", action);
  return made;
}

function element(tag, content, className = "") {
  const made = document.createElement(tag);
  made.textContent = content;
  if (className) made.className = className;
  return made;
}
