import { encode } from "./picture.js";

const WANTED = { video: { facingMode: "environment", width: { ideal: 1280 }, height: { ideal: 960 } }, audio: false };

/** The camera, seen in a <video>. */
export class Camera {
  /** Browsers give the camera to pages from https or this machine only. */
  static possible = Boolean(navigator.mediaDevices?.getUserMedia);

  #stream = null;

  constructor(video) {
    this.video = video;
  }

  get open() {
    return this.#stream !== null;
  }

  /** Asks for the camera and waits for its first picture; raises what the browser says. */
  async start() {
    this.#stream = await navigator.mediaDevices.getUserMedia(WANTED);
    this.video.srcObject = this.#stream;
    await this.video.play().catch((error) => {
      this.stop();
      throw error;
    });
  }

  stop() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
    this.video.srcObject = null;
  }

  /** The picture that is seen now, as an ImageBitmap; null while there is none. */
  async frame() {
    await new Promise((done) => setTimeout(done)); // lets the page draw
    const { videoWidth, readyState } = this.video;
    return videoWidth && readyState >= HTMLMediaElement.HAVE_CURRENT_DATA ? createImageBitmap(this.video) : null;
  }

  /** The picture that is seen now, as a JPEG; null while there is none. */
  async photograph() {
    const { videoWidth, videoHeight } = this.video;
    return videoWidth ? encode(this.video, videoWidth, videoHeight) : null;
  }
}
