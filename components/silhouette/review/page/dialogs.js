// What the reviewer is asked before a verdict goes out: why, or whether it is meant.

import { make } from "./draw.js";

const $ = selector => document.querySelector(selector);

const answers = new Map();

// the close event comes a moment after the close, and keys are quicker: an answer is taken where the next question begins,
// and a late event is none to that one
function opened(dialog) {
  answers.get(dialog)?.(dialog.returnValue);
  return new Promise(resolve => {
    answers.set(dialog, resolve);
    dialog.returnValue = "";
    dialog.querySelector("[value=cancel]").onclick = () => dialog.close("cancel");
    dialog.onclose = () => { if (!dialog.open) resolve(dialog.returnValue); };
    dialog.showModal();
  });
}

// return the reason, one of the presets or the reviewer's own; empty: none was given, and no verdict
export async function askReason(title, reasons) {
  const dialog = $("#reason"), text = $("#reason-text");
  $("#reason-title").textContent = title;
  text.value = "";
  let picked = "";
  const pick = preset => { picked = preset; dialog.close("picked"); };
  $("#presets").replaceChildren(...reasons.map((preset, index) => {
    const button = make("button", { type: "button" }, make("kbd", {}, String(index + 1)), preset);
    button.addEventListener("click", () => pick(preset));
    return make("li", {}, button);
  }));
  dialog.onkeydown = event => {
    const preset = reasons[Number(event.key) - 1];
    if (preset && !text.value) { event.preventDefault(); pick(preset); }
  };
  dialog.querySelector("form").onsubmit = event => {
    if (!text.value.trim()) { event.preventDefault(); text.placeholder = "a rejection needs a reason"; text.focus(); }
  };
  const result = opened(dialog);
  text.focus();
  const value = await result;
  return value === "picked" ? picked : value === "reject" ? text.value.trim() : "";
}

export async function areYouSure(title, text) {
  $("#sure-title").textContent = title;
  $("#sure p").textContent = text;
  return (await opened($("#sure"))) === "yes";
}
