const MAX_SIDE = 960; // pixels; enough for the page, so that many tries take little memory
const QUALITY = 0.95; // of a JPEG
const TINY = 160; // below, pixels are shown as squares, not blurred

/** A small copy of a picture to show: {url, tiny}; null where this browser cannot decode it. */
export async function makePicture(file) {
  try {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height));
    const tiny = Math.max(bitmap.width, bitmap.height) < TINY;
    const blob = await encode(bitmap, Math.ceil(bitmap.width * scale), Math.ceil(bitmap.height * scale), tiny);
    bitmap.close();
    return { url: URL.createObjectURL(blob), tiny };
  } catch {
    return null;
  }
}

/** An image source, drawn at a size on white, as a Blob: JPEG, or PNG, which keeps each pixel. */
export function encode(source, width, height, exact = false) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0, width, height);
  return new Promise((done, failed) => {
    const take = (blob) => (blob ? done(blob) : failed(new Error("no memory for the picture")));
    canvas.toBlob(take, exact ? "image/png" : "image/jpeg", QUALITY);
  });
}
