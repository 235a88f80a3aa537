const MAX_SIDE = 960; // pixels; enough for the page, so that many tries take little memory
const TINY = 160; // below, pixels are shown as squares, not blurred

/** A small copy of a picture to show: {url, tiny}; null where this browser cannot decode it. */
export async function makePicture(file) {
  try {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height));
    const blob = await encode(bitmap, Math.ceil(bitmap.width * scale), Math.ceil(bitmap.height * scale));
    const tiny = Math.max(bitmap.width, bitmap.height) < TINY;
    bitmap.close();
    return { url: URL.createObjectURL(blob), tiny };
  } catch {
    return null;
  }
}

/** An image source, drawn at a size, as a Blob: PNG by default, which keeps pixels and transparency. */
export function encode(source, width, height, type = "image/png", quality = undefined) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  canvas.getContext("2d").drawImage(source, 0, 0, width, height);
  return new Promise((done, failed) => {
    canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("no memory for the picture"))), type, quality);
  });
}
