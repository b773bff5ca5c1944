// The review page: what is on it, where the reviewer is, and what the keys do. The server has the last word on every
// verdict: it is shown as given only when it has been saved.

import { areYouSure, askReason } from "./dialogs.js";
import { NAMES, about, cardElement, counted, frame, mark, make, sentence, titleOf } from "./draw.js";
import { notice, toast } from "./notices.js";
import { ask } from "./server.js";

const $ = selector => document.querySelector(selector);
const grid = $("#grid"), filters = $("#filters"), large = $("#large"), notices = $("#notices");
const PAGE = 60, TOLD = 20, SECOND_LOOK = "changed on a second look";
const VERBS = { approved: "Approve", rejected: "Reject", nobody: "Nobody here on" };

const state = {
  info: null, model: "", cards: [], elements: [], current: 0, anchor: 0, selected: new Set(),
  everything: null, bulk: false, places: [""], after: null, done: [], unsaved: [], saving: new Set(), revisions: new Map(), counts: null, generation: 0,
  looks: 0,
};
const shaOf = card => card.queued.review.picture_sha256;
const number = count => count.toLocaleString("en");

function wanted() {
  const query = new URLSearchParams();
  const given = new FormData(filters);
  query.set("statuses", given.getAll("statuses").join(","));
  for (const [name, value] of given) {
    if (name !== "statuses" && value !== "") query.set(name, name.endsWith("_size") ? String(value / 100) : value);
  }
  return query;
}

async function whyNot(address) {
  try {
    const answer = await fetch(address);
    if (answer.ok) return "the picture cannot be shown by this browser";
    const { error } = await answer.json();
    if (answer.status === 503) notice("pictures", [`Pictures cannot be fetched: ${error}. Verdicts can still be given.`], [["Try again", load]]);
    return error;
  } catch {
    return "the picture cannot be fetched";
  }
}

// ---- the page

async function load() {
  const generation = ++state.generation;
  const query = wanted();
  remember(query);
  query.set("model", state.model);
  query.set("limit", PAGE);
  query.set("after", state.places.at(-1));
  grid.setAttribute("aria-busy", "true");
  try {
    const page = await ask(`api/pictures?${query}`);
    if (generation !== state.generation) return;
    notice("page", null);
    notice("pictures", null);
    state.cards = page.cards;
    state.after = page.after;
    show();
  } catch (error) {
    if (generation === state.generation) notice("page", [`The page cannot be loaded: ${error.message}`], [["Try again", load]]);
  } finally {
    grid.removeAttribute("aria-busy");
  }
  count();
}

function show() {
  state.selected.clear();
  state.elements = state.cards.map(card => cardElement(card, whyNot));
  grid.replaceChildren(...state.elements);
  state.elements.forEach((element, index) => {
    element.addEventListener("click", event => press(event, index));
    element.addEventListener("dblclick", () => enlarge(index));
  });
  $("#where").textContent = state.cards.length ? `page ${state.places.length}, ${counted(state.cards.length, "picture")}` : "";
  $("[data-do=before]").disabled = state.places.length === 1;
  $("[data-do=next]").disabled = !state.after;
  state.anchor = 0;
  window.scrollTo(0, 0);
  go(0, { focus: !document.activeElement || document.activeElement === document.body || grid.contains(document.activeElement) });
  select();
  nothing();
}

function nothing() {
  const empty = !state.cards.length;
  $("#nothing").hidden = !empty;
  grid.hidden = empty;
  if (!empty) return;
  const counts = state.counts, all = [...filters.elements.statuses].every(box => box.checked);
  const preparing = awaited();
  const [title, text] = !state.info.models.length ? ["Nothing to review yet", "No model has seen a picture of this group. Run `silhouette segment`, then get the page anew with g."]
    : preparing ? ["Preparing", "Pictures are put in order, the first appear in a moment."]
      : state.places.length > 1 ? ["That was the last page", "Go back with [, or change the filters."]
        : counts && !counts.total && narrow() ? ["No picture fits", "Widen the filters, or reset them."]
          : counts && !counts.total ? ["Nothing to review", "Every picture of this group is on the badlist, or left the group."]
            : all ? ["No picture fits", "Widen the filters, or reset them."]
              : ["All done here", "No picture with this status fits the filters."];
  $("#nothing h2").textContent = title;
  $("#nothing p").textContent = text;
  $("#nothing button").hidden = all || !counts?.total;
}

// pictures that fit are there, but had not been prepared when the page was asked for
function awaited() {
  const chosen = new FormData(filters).getAll("statuses");
  return !state.cards.length && state.places.length === 1 && state.counts && chosen.some(status => state.counts.statuses[status]);
}

const narrow = () => [...wanted().keys()].some(name => !["statuses", "order"].includes(name));

async function count() {
  clearTimeout(count.timer);
  const generation = state.generation, query = wanted();
  for (const name of ["statuses", "order"]) query.delete(name);
  query.set("model", state.model);
  const began = performance.now();
  let again = 15_000;
  try {
    const counts = await ask(`api/counts?${query}`);
    if (generation !== state.generation) return;
    again = Math.max(again, 20 * (performance.now() - began)); // a large group is not counted all the time
    state.counts = counts;
    if (counts.prepared < counts.total) again = Math.max(1000, again / 10);
    // asked again then: a page that came meanwhile is not taken from under the reviewer
    if (awaited()) setTimeout(() => generation === state.generation && awaited() && load(), 700);
    counting(counts);
    nothing();
    notice("database", counts.problem ? [`PostgreSQL: ${counts.problem}`] : null);
  } catch (error) {
    if (generation === state.generation) notice("database", [`Counts cannot be had: ${error.message}`], [["Try again", count]]);
  }
  count.timer = setTimeout(() => (document.hidden ? (count.timer = setTimeout(count, again)) : count()), again);
}

function counting(counts) {
  for (const chip of document.querySelectorAll(".chip")) {
    chip.querySelector("b").textContent = counts.statuses[chip.querySelector("input").value].toLocaleString("en");
  }
  const done = counts.total - counts.statuses.unchecked, share = counts.total ? done / counts.total : 0;
  $("#progress").replaceChildren(...["approved", "nobody", "rejected"].map(status => {
    const part = make("i", { class: status });
    part.style.width = `${counts.total ? (100 * counts.statuses[status]) / counts.total : 0}%`;
    return part;
  }));
  $("#progress").setAttribute("aria-label", `${done} of ${counts.total} reviewed`);
  $("#progress").title = `${done.toLocaleString("en")} of ${counted(counts.total, "picture")} reviewed (${Math.floor(100 * share)} %)`;
  $("#preparing").textContent = counts.prepared < counts.total ? `preparing ${counts.prepared.toLocaleString("en")} of ${counts.total.toLocaleString("en")}` : "";
  document.title = `${counts.statuses.unchecked.toLocaleString("en")} left: ${state.info.group}`;
}

// ---- where the reviewer is, and what is selected

function go(index, { focus = true } = {}) {
  if (!state.cards.length) return;
  state.elements[state.current]?.setAttribute("tabindex", "-1");
  state.current = Math.max(0, Math.min(index, state.cards.length - 1));
  const element = state.elements[state.current];
  element.setAttribute("tabindex", "0");
  if (large.open) enlarge(state.current);
  else if (focus) element.focus({ preventScroll: false });
}

function columns() {
  const top = state.elements[0]?.offsetTop;
  const next = state.elements.findIndex(element => element.offsetTop !== top);
  return next < 1 ? state.elements.length : next;
}

// all that fit the filters, whatever page they are on, with the revisions that they have now: a verdict names these
async function selectEverything() {
  const generation = state.generation, query = wanted(), found = [];
  query.delete("order");
  query.set("model", state.model);
  toast("looking for all that fit");
  try {
    for (let after = ""; after !== null;) {
      query.set("after", after);
      const part = await ask(`api/fitting?${query}`);
      if (generation !== state.generation) return;
      found.push(...part.pictures);
      after = part.after;
    }
  } catch (error) {
    return notice("page", [`What fits the filters cannot be had: ${error.message}`], [["Try again", selectEverything]]);
  }
  if (!found.length) return toast("no picture fits the filters");
  state.selected.clear();
  state.cards.forEach(card => state.selected.add(shaOf(card)));
  select();
  state.everything = found;
  $("#selected").textContent = `all ${number(found.length)} that fit`;
  toast("");
}

function select() {
  state.everything = null;
  state.elements.forEach((element, index) => element.setAttribute("aria-selected", state.selected.has(shaOf(state.cards[index]))));
  $("#selected").textContent = state.selected.size ? `${state.selected.size} selected` : "";
}

function range(index) {
  state.selected.clear();
  for (let at = Math.min(state.anchor, index); at <= Math.max(state.anchor, index); at++) state.selected.add(shaOf(state.cards[at]));
  select();
}

function toggle(index) {
  const sha = shaOf(state.cards[index]);
  if (!state.selected.delete(sha)) state.selected.add(sha);
  state.anchor = index;
  select();
}

function press(event, index) {
  if (event.shiftKey) range(index);
  else if (event.ctrlKey || event.metaKey) toggle(index);
  else state.anchor = index;
  go(index);
}

// ---- verdicts

const targets = () => (state.selected.size && !large.open ? state.cards.filter(card => state.selected.has(shaOf(card)))
  : state.cards.slice(state.current, state.current + 1)).filter(card => !state.saving.has(shaOf(card)));

async function decide(status) {
  if (state.bulk) return toast("a bulk is being saved, wait for its end");
  const everything = large.open ? null : state.everything;
  const among = (everything ?? targets().map(card => ({ ...seen(card), status: card.queued.review.status })))
    .filter(({ sha256 }) => !state.saving.has(sha256));
  const chosen = among.filter(picture => picture.status !== status);
  if (!chosen.length) return toast(among.length ? `already ${NAMES[status]}` : state.saving.size ? "the last verdict is still being saved" : "");
  const several = state.selected.size > 0 && !large.open;
  let reason = "";
  if (status === "rejected") {
    const which = chosen.length === 1 ? nameOf(chosen[0].sha256) : `these ${counted(chosen.length, "picture")}`;
    reason = await askReason(`Why reject ${which}?`, state.info.reasons);
    if (!reason) return;
  }
  if (everything || (status !== "rejected" && chosen.length > 1)) {
    const given = chosen.filter(picture => picture.status !== "unchecked").length;
    const unprepared = everything && state.counts && state.counts.prepared < state.counts.total;
    const more = [everything ? "These are all that fit the filters, on every page." : "",
      unprepared ? "Pictures that are still being prepared are not among them." : "",
      given ? `${counted(given, "of them has", "of them have")} a verdict already, which this changes.` : ""];
    if (!await areYouSure(`${VERBS[status]} ${counted(chosen.length, "picture")}?`, more.filter(Boolean).join(" "))) return;
  }
  // a verdict that is changed needs a reason, a first one does not
  const parts = [["", chosen.filter(picture => picture.status === "unchecked")],
    [SECOND_LOOK, chosen.filter(picture => picture.status !== "unchecked")]];
  const requests = parts.flatMap(([fallback, pictures]) => chunks(pictures).map(some => ({
    address: "api/verdicts", what: `your “${NAMES[status]}”`,
    body: { status, reason: reason || fallback, pictures: some.map(({ sha256, revision }) => ({ sha256, revision })) },
  })));
  const saved = send(requests, { verb: NAMES[status] });
  // on at once, or a quick second key would be for the same picture
  if (!several) go(state.current + 1);
  state.selected.clear();
  select();
  await saved;
}

// as many as one request takes
function chunks(pictures) {
  const found = [];
  for (let at = 0; at < pictures.length; at += state.info.most_at_once) found.push(pictures.slice(at, at + state.info.most_at_once));
  return found;
}

const seen = card => ({ sha256: shaOf(card), revision: card.queued.review.revision });

async function undo() {
  if (state.bulk) return toast("a bulk is being saved, wait for its end");
  // undone verdicts count as revisions, too: what is taken back next is older than what is there
  let pictures = state.done.pop()?.map(({ sha256, verdict }) => ({ sha256, verdict, revision: state.revisions.get(sha256) }));
  if (!pictures) {
    const card = state.cards[state.current];
    if (!card || card.queued.review.reviewer !== state.info.reviewer) return toast("nothing of yours to undo here");
    pictures = [seen(card)];
  }
  const requests = chunks(pictures).map(some => ({ address: "api/undo", what: "your undo", body: { pictures: some } }));
  await send(requests, { verb: "undone", undoing: true });
}

async function send(requests, { verb, undoing = false }) {
  const outcomes = [], model = state.model, total = requests.reduce((sum, { body }) => sum + body.pictures.length, 0);
  let broken = "";
  const bulk = total > state.info.most_at_once;
  if (bulk) state.bulk = true;
  for (const request of requests) {
    if (bulk) toast(`${number(outcomes.length)} of ${number(total)} sent: ${verb}`);
    const shas = new Set(request.body.pictures.map(picture => picture.sha256));
    shas.forEach(sha => state.saving.add(sha));
    state.cards.forEach((card, index) => shas.has(shaOf(card)) && state.elements[index].classList.add("saving"));
    try {
      if (broken) throw new Error(broken); // one wait for a server that is gone is enough
      const answered = await ask(request.address, { model, ...request.body });
      outcomes.push(...answered.outcomes.map(outcome => ({ ...outcome, request })));
    } catch (error) {
      broken = error.message;
      outcomes.push(...request.body.pictures.map(({ sha256 }) => ({ sha256, outcome: "unsaved", message: error.message, request })));
    }
  }
  if (bulk) state.bulk = false;
  const done = outcomes.filter(({ outcome }) => outcome === "done");
  for (const { sha256, review } of outcomes) update(sha256, review);
  if (done.length) toast(`${done.length === 1 ? nameOf(done[0].sha256) : counted(done.length, "picture")}: ${verb}`);
  if (model === state.model) { // else there is another model's page now
    for (const { sha256, review } of done) state.revisions.set(sha256, review.revision); // of ours, not of others
    const given = done.filter(({ request }) => request.address === "api/verdicts");
    if (given.length) state.done.push(given.map(({ sha256, review }) => ({ sha256, verdict: review.revision })));
  }
  const here = new Set(state.cards.map(shaOf));
  if (done.some(({ sha256 }) => !here.has(sha256))) count(); // what is on other pages is not counted by `update`
  keep(outcomes.filter(({ outcome }) => outcome === "unsaved"), model);
  tell(outcomes.filter(({ outcome }) => outcome === "conflict" || outcome === "refused"), done.length, verb);
  const index = undoing && done.length ? state.cards.findIndex(card => shaOf(card) === done[0].sha256) : -1;
  if (index >= 0) go(index);
  else if (large.open && outcomes.some(({ sha256 }) => sha256 === shaOf(state.cards[state.current]))) enlarge(state.current);
}

function update(sha256, review) {
  state.saving.delete(sha256);
  const index = state.cards.findIndex(card => shaOf(card) === sha256);
  if (index < 0) return;
  state.elements[index].classList.remove("saving");
  if (!review || review.model_digest !== state.cards[index].queued.review.model_digest) return;
  if (state.counts) { // what others do is counted anew from time to time
    state.counts.statuses[state.cards[index].queued.review.status]--;
    state.counts.statuses[review.status]++;
    counting(state.counts);
  }
  state.cards[index].queued.review = review;
  mark(state.elements[index], state.cards[index]);
}

function nameOf(sha256) {
  const card = state.cards.find(item => shaOf(item) === sha256);
  return card ? titleOf(card) : sha256.slice(0, 12);
}

// one message for all that was not done, with who was quicker
function tell(problems, done, verb) {
  if (!problems.length) return;
  const lines = problems.slice(0, TOLD).map(({ sha256, outcome, message, review, request }) => (outcome === "conflict"
    ? `${nameOf(sha256)}: ${sentence(review)}, while you looked. Nothing was overwritten: ${request.what} was not recorded.`
    : `${nameOf(sha256)}: ${message}`));
  if (problems.length > TOLD) lines.push(`and ${number(problems.length - TOLD)} more`);
  const look = () => {
    const index = state.cards.findIndex(card => shaOf(card) === problems[0].sha256);
    if (index >= 0) { go(index); enlarge(index); }
  };
  const head = problems.length === 1 && !done ? lines : [`${done} ${verb}, ${problems.length} not:`, ...lines];
  notice("problems", head, [["Look at it", look]]);
}

// what PostgreSQL did not take stays here, and can be sent again as it was
function keep(outcomes, model) {
  for (const { request } of outcomes) {
    if (state.unsaved.some(item => item.request === request)) continue;
    const shas = new Set(outcomes.filter(item => item.request === request).map(item => item.sha256));
    const pictures = request.body.pictures.filter(({ sha256 }) => shas.has(sha256));
    state.unsaved.push({ request, body: { model, ...request.body, pictures } });
  }
  if (!outcomes.length && state.unsaved.length) return;
  const count = state.unsaved.reduce((sum, { body }) => sum + body.pictures.length, 0);
  notice("unsaved", count ? [`${counted(count, "verdict")} not saved yet: ${outcomes[0].message}. Nothing is lost: keep this page open, and try again with t.`] : null,
    [["Try again", retry]]);
}

async function retry() {
  if (state.bulk) return toast("a bulk is being saved, wait for its end");
  const unsaved = state.unsaved.splice(0);
  notice("unsaved", null);
  if (!unsaved.length) return load();
  await send(unsaved.map(({ request, body }) => ({ ...request, body })), { verb: "saved" });
}

async function enlarge(index) {
  const card = state.cards[index], look = ++state.looks;
  if (!card) return;
  if (!large.open) { go(index, { focus: false }); large.showModal(); }
  const buttons = make("div", { class: "row" });
  for (const [name, key, label] of [["approved", "a", "Approve"], ["rejected", "r", "Reject"], ["nobody", "n", "Nobody here"], ["undo", "u", "Undo"], ["close", "Esc", "Close"]]) {
    const button = make("button", { type: "button", "data-do": name, class: name }, label, make("kbd", {}, key));
    button.addEventListener("click", () => act(name));
    buttons.append(button);
  }
  const panel = large.querySelector("aside");
  const fill = (drawn, changes) => {
    const kept = [...panel.querySelectorAll(".notice")];
    panel.replaceChildren(...kept, ...about(drawn, changes, buttons));
  };
  const draw = drawn => large.querySelector(".stage").replaceChildren(frame(drawn, `pictures/${shaOf(card)}`, { scores: true, failed: whyNot }));
  draw(card);
  fill(card, null);
  large.setAttribute("aria-label", titleOf(card));
  try {
    const detail = await ask(`api/pictures/${shaOf(card)}?${new URLSearchParams({ model: state.model })}`);
    // an answer that was overtaken by a newer one may not know the last verdict
    if (look !== state.looks || state.cards[state.current] !== card || !large.open) return;
    const { review } = detail.card.queued;
    if (review.revision >= card.queued.review.revision) card.queued.review = review;
    else detail.card.queued.review = card.queued.review; // a verdict was saved while this was on its way
    mark(state.elements[state.current], card);
    draw(detail.card);
    fill(detail.card, detail.changes);
  } catch (error) {
    notice("detail", [`This picture's history cannot be had: ${error.message}`]);
  }
}

large.addEventListener("close", () => {
  notices.prepend(...large.querySelectorAll(".notice"));
  state.elements[state.current]?.focus();
});

// ---- what keys and buttons do

function turn(forward) {
  if (forward && state.after) state.places.push(state.after);
  else if (!forward && state.places.length > 1) state.places.pop();
  else return toast(forward ? "this is the last page" : "this is the first page");
  grid.focus();
  load();
}

function act(name) {
  if (name in VERBS) decide(name);
  else if (name === "undo") undo();
  else if (name === "all") { state.cards.forEach(card => state.selected.add(shaOf(card))); select(); }
  else if (name === "everything") selectEverything();
  else if (name === "next" || name === "before") turn(name === "next");
  else if (name === "close") large.close();
}

function move(step, extend) {
  const index = Math.max(0, Math.min(state.current + step, state.cards.length - 1));
  if (extend && !large.open) range(index);
  else state.anchor = index;
  go(index);
}

const KEYS = {
  a: () => act("approved"), r: () => act("rejected"), n: () => act("nobody"), u: undo, t: retry, g: load,
  x: () => toggle(state.current), " ": () => toggle(state.current),
  "[": () => turn(false), "]": () => turn(true),
  o: () => document.body.classList.toggle("no-outlines"), b: () => document.body.classList.toggle("with-boxes"),
  f: () => { large.close(); filters.querySelector("input").focus(); },
  "?": () => $("#help").showModal(),
  e: () => { if (!large.open) selectEverything(); },
  Enter: () => (large.open ? large.close() : enlarge(state.current)),
  Escape: () => { state.selected.clear(); select(); },
  ArrowLeft: extend => move(-1, extend), ArrowRight: extend => move(1, extend),
  ArrowUp: extend => move(large.open ? -1 : -columns(), extend), ArrowDown: extend => move(large.open ? 1 : columns(), extend),
};
Object.assign(KEYS, { h: KEYS.ArrowLeft, l: KEYS.ArrowRight, k: KEYS.ArrowUp, j: KEYS.ArrowDown, H: KEYS.ArrowLeft, L: KEYS.ArrowRight, K: KEYS.ArrowUp, J: KEYS.ArrowDown });

document.addEventListener("keydown", event => {
  if (["reason", "sure", "help"].some(id => $(`#${id}`).open)) return;
  const typing = event.target.closest("input:not([type=checkbox]), select, textarea");
  if (typing) {
    if (event.key === "Escape") { event.target.blur(); go(state.current); }
    return;
  }
  if (event.ctrlKey || event.metaKey) {
    const act = { a: () => { if (!large.open) { state.cards.forEach(card => state.selected.add(shaOf(card))); select(); } }, z: undo }[event.key];
    if (act) { event.preventDefault(); act(); }
    return;
  }
  if (event.altKey || (event.key === "Escape" && large.open)) return;
  const on = event.target.closest("button, summary, a, input");
  if (on && (event.key === "Enter" || event.key === " ")) return;
  const action = KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  action(event.shiftKey);
});

$("#actions").addEventListener("click", event => {
  const button = event.target.closest("[data-do]");
  if (button) act(button.dataset.do);
});
$("#show-help").addEventListener("click", () => $("#help").showModal());
$("#nothing button").addEventListener("click", () => {
  for (const box of filters.elements.statuses) box.checked = true;
  anew();
});

// ---- filters, kept in the address so that a reload finds them again

function anew() {
  state.places = [""];
  load();
}

function remember(query) {
  const kept = new URLSearchParams(query);
  if (state.model !== state.info.model) kept.set("model", state.model);
  history.replaceState(null, "", `#${kept}`);
}

function recall() {
  const kept = new URLSearchParams(location.hash.slice(1));
  const statuses = kept.has("statuses") ? kept.get("statuses").split(",") : ["unchecked"];
  for (const box of filters.elements.statuses) box.checked = statuses.includes(box.value);
  for (const [name, value] of kept) {
    const field = filters.elements[name];
    if (name !== "statuses" && field) field.value = name.endsWith("_size") ? String(Math.round(value * 1000) / 10) : value;
  }
  return kept.get("model");
}

let changing;
filters.addEventListener("input", event => {
  if (event.target.name === "statuses" && ![...filters.elements.statuses].some(box => box.checked)) event.target.checked = true;
  clearTimeout(changing);
  changing = setTimeout(() => filters.reportValidity() && anew(), event.target.type === "number" ? 400 : 0);
});
filters.addEventListener("reset", event => {
  event.preventDefault();
  for (const field of filters.elements) {
    if (field.type === "checkbox") field.checked = field.value === "unchecked";
    else if (field.tagName === "SELECT") field.selectedIndex = 0;
    else if (field.tagName === "INPUT") field.value = "";
  }
  anew();
});
filters.addEventListener("submit", event => event.preventDefault());
$("#model").addEventListener("change", event => { state.model = event.target.value; state.done = []; state.revisions.clear(); anew(); });
window.addEventListener("beforeunload", event => { if (state.unsaved.length) event.preventDefault(); });

async function start() {
  try {
    state.info = await ask("api/group");
  } catch (error) {
    return notice("page", [`The page cannot be loaded: ${error.message}`], [["Try again", start]]);
  }
  const { group, models, labels, reviewer } = state.info;
  $("#group").textContent = group;
  $("#group").title = group;
  $("#reviewer").textContent = reviewer;
  $("#model").replaceChildren(...models.map(item => make("option", { value: item.model_digest },
    `${item.model_digest.slice(0, 8)}, ${counted(item.pictures, "picture")}`)));
  filters.elements.label.append(...labels.map(label => make("option", { value: label }, label || "(none)")));
  const alone = models.length < 2;
  $("#agreement").hidden = alone;
  $("#one-model").hidden = !alone;
  const model = recall();
  state.model = models.some(item => item.model_digest === model) ? model : state.info.model;
  $("#model").value = state.model;
  if (!models.length) { state.cards = []; return show(); }
  await load();
}

start();
