// Asks the server that this page came from. The page exported for browsers has another file of this name.

import { Problem } from "./problem.js";

const TOP = 5;
const TIMEOUT_MS = 60_000;
const KEY = "featherlight-key";
const KINDS = { 400: "notImage", 408: "slow", 413: "tooLarge", 415: "notImage", 422: "notImage", 503: "busy", 504: "slow" };

/** Answers are quick enough to name what the camera sees while it sees it. */
export const live = false;
export const privacy = "serverPrivacy";

let maxBytes = Infinity;

/** What the server says about its model: at least {model, classes}. */
export async function describe() {
  const model = await ask("v1/model");
  maxBytes = model.limits?.max_body_bytes ?? Infinity;
  return model;
}

/** Names a picture (a Blob): {label, probability, top, rejected, ms}. Throws a Problem. */
export async function classify(picture, name) {
  if (picture.size > maxBytes) throw new Problem("tooLarge");
  const form = new FormData();
  form.append("files", picture, name);
  const began = performance.now();
  const { predictions } = await ask(`v1/predict?top=${TOP}`, { method: "POST", body: form });
  const row = predictions[0];
  if (row.error) throw new Problem(row.error.startsWith("too large") ? "tooLarge" : "notImage", row.error);
  return { ...row, ms: performance.now() - began };
}

/** Sends this key from now on. */
export function useKey(key) {
  sessionStorage.setItem(KEY, key);
}

async function ask(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  try {
    const answer = await fetch(path, { ...options, headers, signal: AbortSignal.timeout(TIMEOUT_MS) });
    if (answer.ok) return await answer.json();
    if (answer.status === 401) throw new Problem(key ? "wrongKey" : "key");
    throw await problemOf(answer);
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem(error.name === "TimeoutError" ? "slow" : "away");
  }
}

async function problemOf(answer) {
  const { title = "", detail = title } = await answer.json().catch(() => ({}));
  const waitSeconds = Number(answer.headers.get("Retry-After")) || 1;
  return new Problem(KINDS[answer.status] ?? "other", String(detail), waitSeconds);
}
