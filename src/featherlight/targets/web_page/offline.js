// Keeps this page for when there is no network, and offers a newer one when there is.

import { text } from "./texts.js";

/** Works where browsers allow it: at https addresses and on this machine. */
export async function keepOffline() {
  if (!navigator.serviceWorker) return;
  try {
    const registration = await navigator.serviceWorker.register("sw.js");
    offer(registration);
    registration.addEventListener("updatefound", () => {
      registration.installing.addEventListener("statechange", () => offer(registration));
    });
  } catch {
    // without it the page works as long as there is a network
  }
}

function offer(registration) {
  if (!registration.waiting || !registration.active || document.querySelector(".update")) return;
  const card = document.createElement("div");
  card.className = "card update";
  card.setAttribute("role", "status");
  const [line, button] = [document.createElement("p"), document.createElement("button")];
  line.textContent = text("update");
  button.textContent = text("reload");
  button.addEventListener("click", () => {
    navigator.serviceWorker.addEventListener("controllerchange", () => location.reload());
    registration.waiting.postMessage("take over");
  });
  card.append(line, button);
  document.querySelector("header").after(card);
}
