// The model, beside the page, so that the page stays quick while it computes.

import * as ort from "./onnxruntime.js";

const TOP = 5;
const MAX_PIXELS = 100_000_000; // as everywhere in Featherlight
const SCALED_PIXELS = 4_000_000; // larger pictures are made smaller first: phones give a page little memory

let loaded = null;

self.addEventListener("message", async ({ data: { id, what, picture } }) => {
  try {
    self.postMessage({ id, result: what === "load" ? (await load()).model : await classify(picture) });
  } catch (error) {
    self.postMessage({ id, problem: { kind: error.kind ?? "other", detail: error.detail ?? String(error.message ?? error) } });
  }
});

function load() {
  loaded ??= start().catch((error) => {
    loaded = null;
    throw problem("noModel", error.message);
  });
  return loaded;
}

async function start() {
  ort.env.wasm.numThreads = 1; // a light network gains little from more, which take longer to start
  ort.env.wasm.wasmPaths = { wasm: new URL("onnxruntime.wasm", import.meta.url).href };
  const [model, session] = await Promise.all([
    fetch("model.json").then((answer) => answer.json()),
    ort.InferenceSession.create(new URL("model.onnx", import.meta.url).href, { executionProviders: ["wasm"] }),
  ]);
  return { model, session };
}

async function classify(picture) {
  const { model, session } = await load();
  const began = performance.now();
  const { width, height, data } = await decode(picture);
  const image = new ort.Tensor("uint8", withoutAlpha(data), [1, height, width, 3]);
  const { logits, probabilities } = await session.run({ image });
  const answer = answerOf(model, logits.data, probabilities.data);
  return { ...answer, ms: performance.now() - began };
}

/** Pixels as a person sees them: turned upright, transparency on white, colours as stored. */
async function decode(picture) {
  const bitmap = picture instanceof ImageBitmap ? picture : await open(picture);
  const pixels = bitmap.width * bitmap.height;
  if (pixels > MAX_PIXELS) throw problem("tooLarge");
  const scale = Math.min(1, Math.sqrt(SCALED_PIXELS / pixels));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  Object.assign(canvas, { fillStyle: "white", imageSmoothingQuality: "high" });
  canvas.fillRect(0, 0, width, height);
  canvas.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return canvas.getImageData(0, 0, width, height);
}

async function open(picture) {
  try {
    return await createImageBitmap(picture, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch {
    throw problem("notImage");
  }
}

function withoutAlpha(rgba) {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    rgb[to] = rgba[from];
    rgb[to + 1] = rgba[from + 1];
    rgb[to + 2] = rgba[from + 2];
  }
  return rgb;
}

function answerOf({ classes, reject }, logits, probabilities) {
  const order = Array.from(probabilities.keys()).sort((one, other) => probabilities[other] - probabilities[one]);
  const top = order.slice(0, TOP).map((k) => [classes[k], probabilities[k]]);
  const [label, probability] = top[0];
  return { label, probability, top, rejected: reject !== null && !accepts(reject, logits, probability) };
}

/** As featherlight.metrics.rejection. */
function accepts({ score, threshold }, logits, probability) {
  if (score === "probability") return probability >= threshold;
  const highest = Math.max(...logits);
  return highest + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - highest), 0)) >= threshold;
}

function problem(kind, detail = "") {
  return { kind, detail };
}
