// What is drawn of a picture: the card in the grid, people as SVG, the large view's panel. Text is only ever set as text.

const SVG = "http://www.w3.org/2000/svg";
export const NAMES = { unchecked: "unchecked", approved: "approved", rejected: "rejected", nobody: "nobody here" };

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function draw(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export const percent = share => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
export const score = value => (value === null ? "–" : value.toFixed(2));
export const counted = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

export function moment(iso) {
  const at = new Date(iso);
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return at.toDateString() === new Date().toDateString() ? `at ${time}` : `on ${at.toLocaleDateString()} at ${time}`;
}

export const titleOf = card => card.names.map(name => name.picture_id).join(", ") || card.queued.review.picture_sha256.slice(0, 12);

// people over a picture, in its own pixels; points are pixel indices, so everything moves to the pixels' centres
function people(card, { scores }) {
  const { width, height, review } = card.queued;
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  if (review.status === "nobody") svg.classList.add("void");
  const letter = Math.max(width, height) / 46;
  card.people.forEach((person, index) => {
    const [x0, y0, x1, y1] = person.box_xyxy;
    const group = draw("g", { class: `person p${index % 10}` });
    group.append(draw("rect", { x: x0, y: y0, width: Math.max(0, x1 - x0), height: Math.max(0, y1 - y0) }));
    if (person.path) group.append(draw("path", { d: person.path, transform: "translate(.5 .5)" }));
    if (scores) {
      const text = `${index + 1}: ${score(person.score)}${person.path ? "" : ", outline damaged"}`;
      const y = y0 > 1.5 * letter ? y0 - letter * 0.4 : y0 + letter * 1.1; // above the box where there is room
      const place = { x: x0, y, "font-size": letter, "stroke-width": letter / 5 };
      group.append(draw("text", place, text));
    }
    svg.append(group);
  });
  return svg;
}

export function frame(card, address, { scores = false, failed }) {
  const image = make("img", { alt: titleOf(card), src: address, loading: "lazy", draggable: "false" });
  const box = make("div", { class: "frame" }, image, people(card, { scores }));
  image.addEventListener("error", async () => {
    image.remove();
    box.append(make("p", {}, await failed(address)));
  });
  return box;
}

export function cardElement(card, failed) {
  const { review, doubt, least_score: least } = card.queued;
  const element = make("div", { class: "card", role: "option", tabindex: "-1" });
  element.append(
    frame(card, `thumbnails/${review.picture_sha256}`, { failed }),
    make("span", { class: "badge" }),
    make("div", { class: "doubt", title: `doubt ${doubt.toFixed(2)}` }, make("i")),
    make("div", { class: "about" }, make("b", { title: titleOf(card) }, titleOf(card)),
      make("span", {}, review.people_count ? `${counted(review.people_count, "person", "people")}, least score ${score(least)}` : "nobody found")),
  );
  element.querySelector(".doubt i").style.width = `${100 * doubt}%`;
  mark(element, card);
  return element;
}

// bring what depends on the review up to date
export function mark(element, card) {
  const { review } = card.queued;
  element.classList.remove("unchecked", "approved", "rejected", "nobody");
  element.classList.add(review.status);
  const badge = element.querySelector(".badge");
  badge.className = `badge ${review.status}`;
  badge.textContent = NAMES[review.status];
  badge.title = review.revision ? `${review.reviewer} ${moment(review.status_at)}${review.reason ? `: ${review.reason}` : ""}` : "";
  element.querySelector("svg").classList.toggle("void", review.status === "nobody");
  element.setAttribute("aria-label", `${titleOf(card)}, ${NAMES[review.status]}, ${counted(review.people_count, "person", "people")}, doubt ${card.queued.doubt.toFixed(2)}`);
}

export function sentence(review) {
  const reason = review.reason ? ` (“${review.reason}”)` : "";
  const did = { unchecked: "took the verdict back", approved: "approved it", rejected: "rejected it", nobody: "said that nobody is here" }[review.status];
  return `${review.reviewer || "somebody"} ${did} ${moment(review.status_at)}${reason}`;
}

function row(cells, tag = "td") {
  return make("tr", {}, ...cells.map(cell => make(tag, {}, ...[cell].flat())));
}

// the panel beside the large picture; `changes` is null until they are there
export function about(card, changes, buttons) {
  const { review, doubt, least_score: least, agreement, width, height } = card.queued;
  const area = width * height;
  const rows = card.people.map((person, index) => {
    const [x0, y0, x1, y1] = person.box_xyxy;
    const swatch = make("i", { class: `swatch p${index % 10}` });
    return row([[swatch, `${index + 1}`], score(person.score), percent(((x1 - x0) * (y1 - y0)) / area)]);
  });
  const labels = [...new Set(card.names.map(name => name.label))].filter(Boolean).join(", ");
  const agreed = agreement === null ? "no other model has seen it" : `models agree ${agreement.toFixed(2)}`;
  return [
    make("h2", {}, titleOf(card)),
    make("p", {}, make("span", { class: `badge ${review.status}` }, NAMES[review.status]), labels ? ` labelled ${labels}` : ""),
    make("p", { class: "quiet" }, `${width} × ${height} pixels`),
    buttons,
    make("h3", {}, `Doubt ${doubt.toFixed(2)}`),
    make("p", {}, `${card.people.length ? `least score ${score(least)}` : "nobody found, counts as 0.50"}; ${agreed}`),
    make("h3", {}, counted(card.people.length, "person", "people")),
    ...(rows.length ? [make("table", {}, row(["person", "score", "size"], "th"), ...rows)] : []),
    make("h3", {}, "History"),
    changes === null ? make("p", { class: "quiet" }, "…")
      : changes.length ? make("ul", { class: "history" }, ...[...changes].reverse().map(change =>
        make("li", {}, sentence({ ...change, status: change.to_status, status_at: change.at }))))
        : make("p", { class: "quiet" }, "no verdict yet"),
  ];
}
