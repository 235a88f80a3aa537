// The page: pictures come in by choice, drop, paste or camera; each becomes a try and is looked at in turn.

import { showAnswer, showNote, showProblem, showStart } from "./answer.js";
import { classify, describe, live, privacy, useKey } from "./backend.js";
import { Camera } from "./camera.js";
import { Gallery, MAX_TRIES } from "./gallery.js";
import { makePicture } from "./picture.js";
import { Problem } from "./problem.js";
import { number, text, translate } from "./texts.js";

const MAX_WAITS = 4; // times that a busy server is asked again by itself
const MAX_WAIT_S = 30;

const part = (id) => document.getElementById(id);
const gallery = new Gallery(part("gallery"), show);
const camera = new Camera(part("video"));
const queue = [];
let model = null;
let current = null;
let introducing = false;
let working = false;
let drawing = Promise.resolve(); // small copies are made one after the other: each needs the whole picture in memory

async function begin() {
  translate();
  if (matchMedia("(pointer: coarse)").matches) part("invitation").textContent = text("tap");
  part("privacy").textContent = text(privacy);
  part("limit").textContent = text("limit", { n: MAX_TRIES });
  listen();
  await introduce();
}

async function introduce() {
  if (introducing) return;
  introducing = true;
  showNote(text("loading"), true);
  try {
    model = await describe();
    const count = model.classes.length === 1 ? text("oneClass") : text("classes", { n: number(model.classes.length) });
    part("about").textContent = text("about", { model: model.model, count });
    if (current) show(current);
    else showStart(model.classes);
    work();
  } catch (error) {
    showProblem(asProblem(error), introduce, takeKey(introduce));
  } finally {
    introducing = false;
  }
}

function listen() {
  for (const opener of ["choose", "empty"]) part(opener).addEventListener("click", () => part("files").click());
  for (const input of [part("files"), part("lens")]) {
    input.addEventListener("change", () => {
      add([...input.files]);
      input.value = ""; // the same file can be chosen again
    });
  }
  part("photograph").addEventListener("click", openCamera);
  part("shoot").addEventListener("click", shoot);
  part("close").addEventListener("click", closeCamera);
  part("clear").addEventListener("click", clear);
  document.addEventListener("keydown", pressed);
  document.addEventListener("paste", pasted);
  document.addEventListener("dragover", (event) => dragging(event, true));
  document.addEventListener("dragleave", (event) => !event.relatedTarget && dragging(event, false));
  document.addEventListener("drop", (event) => {
    dragging(event, false);
    addOrExplain(dropped(event.dataTransfer));
  });
}

function dragging(event, over) {
  event.preventDefault();
  part("stage").classList.toggle("over", over);
}

function dropped({ items }) {
  const files = [...items].filter((item) => item.kind === "file" && !item.webkitGetAsEntry()?.isDirectory);
  return files.map((item) => item.getAsFile());
}

function pressed(event) {
  if (event.key === "Escape" && camera.open) closeCamera();
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step && !event.altKey && !event.ctrlKey && !event.metaKey && event.target.tagName !== "INPUT") gallery.step(current, step);
}

function pasted(event) {
  if (event.target.tagName === "INPUT") return;
  event.preventDefault();
  addOrExplain([...event.clipboardData.files]);
}

function addOrExplain(files) {
  if (files.length) add(files);
  else showProblem(new Problem("noPicture"));
}

function add(files) {
  if (!files.length) return;
  const tries = files.slice(0, MAX_TRIES).map((file) => gallery.add(file, nameOf(file)));
  for (const attempt of tries) {
    queue.push(attempt);
    drawing = drawing.then(() => draw(attempt));
  }
  part("tries").hidden = false;
  part("limit").hidden = files.length <= MAX_TRIES;
  show(tries[0]);
  work();
}

async function draw(attempt) {
  if (attempt.gone) return;
  gallery.give(attempt, { picture: await makePicture(attempt.file) });
  if (attempt === current) showPicture(attempt);
}

function nameOf(file) {
  return file.name && file.name !== "image.png" ? file.name : text("pasted"); // what browsers call what is pasted
}

/** Looks at what waits, one picture after the other. */
async function work() {
  if (!model) return introduce(); // goes on here when it knows the model
  if (working) return;
  working = true;
  while (queue.length) await look(queue.shift());
  working = false;
}

async function look(attempt) {
  if (attempt.gone) return;
  try {
    gallery.give(attempt, { state: "looking" });
    if (attempt === current) show(attempt);
    gallery.give(attempt, { state: "answered", answer: await classifyPatiently(attempt) });
  } catch (error) {
    gallery.give(attempt, { state: "failed", problem: asProblem(error) });
  }
  if (attempt === current) show(attempt);
}

async function classifyPatiently(attempt) {
  for (let waits = 0; ; waits++) {
    try {
      return await classify(attempt.file, attempt.name);
    } catch (error) {
      if (error.kind !== "busy" || waits === MAX_WAITS || error.waitSeconds > MAX_WAIT_S) throw error;
      if (attempt === current) showNote(text("busyAgain", { n: error.waitSeconds }), true);
      await new Promise((done) => setTimeout(done, error.waitSeconds * 1000));
    }
  }
}

/** Makes this try the one that is seen. */
function show(attempt) {
  if (camera.open) filming(false);
  current = attempt;
  gallery.select(attempt);
  showPicture(attempt);
  if (attempt.state === "answered") showAnswer(attempt.answer);
  else if (attempt.state === "failed") showProblem(attempt.problem, () => retry(attempt), takeKey(() => retry(attempt)));
  else showNote(text(attempt.state), true);
}

function showPicture(attempt) {
  part("empty").hidden = true;
  part("shown").hidden = !attempt.picture;
  part("unseen").hidden = attempt.picture !== null; // undefined: it is being made
  part("unseen").textContent = text("unseen", { name: attempt.name });
  if (!attempt.picture) return;
  part("shown").src = attempt.picture.url;
  part("shown").alt = attempt.name;
  part("shown").classList.toggle("tiny", attempt.picture.tiny);
}

function retry(attempt) {
  gallery.give(attempt, { state: "waiting" });
  queue.push(attempt);
  show(attempt);
  work();
}

function takeKey(then) {
  return (key) => {
    useKey(key);
    then();
  };
}

function clear() {
  queue.length = 0;
  gallery.clear();
  current = null;
  part("tries").hidden = true;
  part("choose").focus();
  showEmpty();
}

async function openCamera() {
  if (!Camera.possible) return part("lens").click(); // a phone's own camera, without a secure address
  part("photograph").disabled = true;
  try {
    await camera.start();
  } catch (error) {
    return showProblem(new Problem("noCamera", error.message));
  } finally {
    part("photograph").disabled = false;
  }
  filming(true);
  part("shoot").focus();
  if (live) watch();
  else showNote(text("aim"), false);
}

function filming(on) {
  if (!on) camera.stop();
  part("usual").hidden = on;
  part("filming").hidden = !on;
  part("video").hidden = !on;
  part("answer").ariaLive = on ? "off" : "polite"; // what changes all the time is not read out
  if (on) for (const id of ["empty", "shown", "unseen"]) part(id).hidden = true;
}

/** Names what the camera sees, as fast as answers come. */
async function watch() {
  while (camera.open) {
    const frame = await camera.frame();
    if (!frame) continue;
    try {
      const answer = await classify(frame, text("photo"));
      if (camera.open) showAnswer(answer);
    } catch (error) {
      return camera.open && showProblem(asProblem(error));
    }
  }
}

async function shoot() {
  const photo = await camera.photograph();
  if (photo) add([new File([photo], text("photo"), { type: photo.type })]);
}

function closeCamera() {
  filming(false);
  part("photograph").focus();
  if (current) show(current);
  else showEmpty();
}

/** As it is before the first picture. */
function showEmpty() {
  for (const id of ["shown", "unseen"]) part(id).hidden = true;
  part("empty").hidden = false;
  if (model) showStart(model.classes);
}

function asProblem(error) {
  return error instanceof Problem ? error : new Problem("other", error?.message ?? String(error));
}

begin();
