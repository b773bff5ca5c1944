// Notices are what must be read: they stay until they are put away. A toast is what may be missed.

import { make } from "./draw.js";

const $ = selector => document.querySelector(selector);

export function notice(kind, lines, actions = []) {
  $(`#notices [data-kind="${kind}"]`)?.remove();
  if (!lines) return;
  const [first, ...rest] = lines;
  const text = make("div", {}, first, ...(rest.length ? [make("ul", {}, ...rest.map(line => make("li", {}, line)))] : []));
  const element = make("div", { class: "notice", role: "alert", "data-kind": kind }, text);
  for (const [label, act] of [...actions, ["Put away", () => {}]]) {
    const button = make("button", { type: "button" }, label);
    button.addEventListener("click", () => { element.remove(); act(); });
    element.append(button);
  }
  const large = $("#large");
  (large.open ? large.querySelector("aside") : $("#notices")).prepend(element);
}

export function toast(text) {
  $("#toast").textContent = text;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => { $("#toast").textContent = ""; }, 6000);
}
