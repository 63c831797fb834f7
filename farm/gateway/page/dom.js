// Elements from values. Text is only ever text: nothing here takes markup.

// What shows nothing, or turns all around it the other way.
const UNSEEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** Text whose unseen characters are shown by their numbers. */
function plain(text) {
  return text.replace(UNSEEN, (each) => `[U+${each.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}]`);
}

/** Our words around others' (a template's tag): whichever way those run, ours stay where they are. */
export function words(ours, ...others) {
  return ours.flatMap((each, at) => (at < others.length ? [each, h("bdi", {}, String(others[at]))] : [each]));
}

/** An element with attributes and children; a function among the attributes is a listener ("onclick"). */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  const shown = children.flat().filter((child) => child !== null && child !== undefined && child !== false);
  // A textarea's text is its value, which is sent as it is.
  element.append(...shown.map((child) => (typeof child === "string" && tag !== "textarea" ? plain(child) : child)));
  return element;
}

/** Say something that everybody hears, screen readers too. */
export function notice(text) {
  const place = document.getElementById("notice");
  place.textContent = plain(text);
  clearTimeout(notice.timer);
  notice.timer = setTimeout(() => { place.textContent = ""; }, 6000);
}

const missing = new Map();

/** Say for as long as it lasts why a call gets no answer; null: it does, or nobody asks any more. */
export function away(call, why) {
  if (why === null) missing.delete(call);
  else missing.set(call, why);
  const words = [...new Set(missing.values())].join("; ");
  const place = document.getElementById("away");
  const text = words && `Nothing new comes in for now, and this page tries again by itself: ${words}.`;
  if (place.textContent !== text) place.textContent = text;
}

/** Wait so long, or until the signal ends it. */
export function pause(ms, signal) {
  return new Promise((done, end) => {
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", () => { clearTimeout(timer); end(signal.reason); }, { once: true });
  });
}

/** Ask for a yes before something that cannot be taken back. */
export function confirmed(question, yes) {
  return new Promise((done) => {
    const dialog = h("dialog", { "aria-label": question, onclose: () => { dialog.remove(); done(dialog.returnValue === "yes"); } },
      h("form", { method: "dialog" }, h("p", {}, question),
        h("div", { class: "row" }, h("button", { value: "yes", class: "first" }, yes), h("button", { value: "no" }, "Leave it"))));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** A table with a caption for those who do not see it. */
export function table(caption, heads, rows) {
  return h("div", { class: "wide-table", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {},
      h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell ?? "–")))))));
}

/** A place that files can be dropped on. */
export function dropPlace(take, attributes, ...children) {
  const place = h("div", { class: "drop", ...attributes,
    ondragover: (event) => { event.preventDefault(); place.classList.add("over"); },
    ondragleave: () => place.classList.remove("over"),
    ondrop: (event) => { event.preventDefault(); event.stopPropagation(); place.classList.remove("over"); take(event.dataTransfer.files[0]); },
  }, ...children);
  return place;
}

/** Seconds as people say them. */
export function seconds(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value < 100) return `${value.toFixed(1)} s`;
  const minutes = Math.round(value / 60);
  return minutes < 100 ? `${minutes} min` : `${(value / 3600).toFixed(1)} h`;
}

/** A moment of a record, in the reader's own time. */
export function moment(text) {
  return text ? new Date(text).toLocaleString() : "–";
}

/** How long a job ran, in seconds; null while nobody knows. */
export function tookSeconds(job) {
  return job.finished_at && job.started_at ? (new Date(job.finished_at) - new Date(job.started_at)) / 1000 : null;
}

/** A value in words. */
export function said(value) {
  if (value === null || value === undefined) return "nothing";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
