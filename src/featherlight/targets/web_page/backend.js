// Asks the model in this folder; pictures stay in the browser. The page that `serve` shows has another file of this name.

import { Problem } from "./problem.js";
import { keepOffline } from "./offline.js";

/** Answers are quick enough to name what the camera sees while it sees it. */
export const live = true;
export const privacy = "browserPrivacy";

const waiting = new Map();
let worker = null;
let asked = 0;

/** Loads the model; what it says of itself: {model, classes, ...}. */
export async function describe() {
  const model = await ask("load");
  keepOffline();
  return model;
}

/** Names a picture (a Blob or an ImageBitmap, which is used up): {label, probability, top, rejected, ms}. */
export function classify(picture) {
  return ask("classify", picture, picture instanceof ImageBitmap ? [picture] : []);
}

/** Nobody asks for a key here. */
export function useKey() {}

function ask(what, picture = null, given = []) {
  const id = asked++;
  worker ??= startWorker();
  worker.postMessage({ id, what, picture }, given);
  return new Promise((done, failed) => waiting.set(id, { done, failed }));
}

function startWorker() {
  const started = new Worker("worker.js", { type: "module" });
  started.addEventListener("message", ({ data: { id, result, problem } }) => {
    const { done, failed } = waiting.get(id);
    waiting.delete(id);
    if (problem) failed(new Problem(problem.kind, problem.detail));
    else done(result);
  });
  started.addEventListener("error", (event) => {
    for (const { failed } of waiting.values()) failed(new Problem("noModel", event.message ?? ""));
    waiting.clear();
    worker = null; // the next question starts another
  });
  return started;
}
