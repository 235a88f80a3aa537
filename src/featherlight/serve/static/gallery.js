// The tries of this visit, newest first; they live in this page only.

import { percent, text } from "./texts.js";

export const MAX_TRIES = 100;

export class Gallery {
  /** `show` is called with the try that a person picks. */
  constructor(list, show) {
    this.list = list;
    this.show = show;
    this.tries = [];
  }

  /** A new try: {file, name, state: waiting|looking|answered|failed, picture, answer, problem}. */
  add(file, name) {
    const attempt = { file, name, state: "waiting", picture: undefined, answer: null, problem: null, gone: false };
    attempt.item = document.createElement("li");
    attempt.button = document.createElement("button");
    attempt.button.type = "button";
    attempt.button.addEventListener("click", () => this.show(attempt));
    attempt.item.append(attempt.button);
    this.tries.unshift(attempt);
    this.list.prepend(attempt.item);
    for (const old of this.tries.splice(MAX_TRIES)) forget(old);
    draw(attempt);
    return attempt;
  }

  /** Changes fields of a try. */
  give(attempt, fields) {
    Object.assign(attempt, fields);
    if (attempt.gone) forget(attempt);
    else draw(attempt);
  }

  /** Marks the try that is seen. */
  select(attempt) {
    for (const one of this.tries) one.button.setAttribute("aria-current", String(one === attempt));
  }

  /** Goes to the neighbour of a try. */
  step(attempt, by) {
    const next = this.tries[this.tries.indexOf(attempt) + by];
    if (!attempt || !next) return;
    this.show(next);
    next.button.focus();
  }

  /** Forgets all. */
  clear() {
    for (const attempt of this.tries.splice(0)) forget(attempt);
  }
}

function forget(attempt) {
  attempt.gone = true;
  attempt.item.remove();
  if (attempt.picture) URL.revokeObjectURL(attempt.picture.url);
}

function draw(attempt) {
  const { button, picture, name } = attempt;
  const image = picture ? document.createElement("img") : line("no-picture", name);
  if (picture) Object.assign(image, { src: picture.url, alt: "", className: picture.tiny ? "tiny" : "" });
  button.className = attempt.state;
  button.title = name;
  button.replaceChildren(image, line("verdict", verdict(attempt)), line("soft", sureness(attempt) || name));
}

function verdict({ state, answer }) {
  if (state === "answered") return answer.rejected ? text("unknown") : answer.label;
  return text(state);
}

function sureness({ state, answer, problem }) {
  if (state === "answered" && !answer.rejected) return percent(answer.probability);
  return problem && state === "failed" ? text(problem.kind) : "";
}

function line(className, content) {
  const made = document.createElement("span");
  made.className = className;
  made.textContent = content;
  return made;
}
