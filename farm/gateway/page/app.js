// Which page is shown. A page is a function: what it needs -> its elements; what it starts ends with `signal`.

import { enter } from "./api.js";
import { h, notice } from "./dom.js";

// Each is loaded when it is first gone to.
const PAGES = {
  clips: async () => (await import("./clips.js")).clips,
  job: async () => (await import("./job.js")).job,
  new: async () => (await import("./new.js")).fresh,
  fleet: async () => (await import("./fleet.js")).fleet,
};
const main = document.getElementById("main");
let ending = new AbortController();

async function show() {
  ending.abort();
  ending = new AbortController();
  const { signal } = ending;
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name = "clips", ...rest] = path.split("/").filter(Boolean);
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#/${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  main.setAttribute("aria-busy", "true");
  let shown;
  try {
    await enter();
    const view = await PAGES[Object.hasOwn(PAGES, name) ? name : "clips"]();
    shown = await view({ argument: rest.map(decodeURIComponent).join("/"), query: new URLSearchParams(query), signal });
  } catch (error) {
    if (signal.aborted) return;
    shown = h("div", {}, h("h1", {}, "That cannot be shown"), h("p", { class: "bad", role: "alert" }, error.message));
  }
  if (signal.aborted) return;
  main.replaceChildren(shown);
  main.removeAttribute("aria-busy");
  document.title = `${main.querySelector("h1")?.textContent ?? "WAN farm"} – WAN farm`;
}

// A file that is dropped beside its place would take the page's.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
addEventListener("drop", (event) => {
  if (!event.dataTransfer.files.length) return;
  notice(document.querySelector(".drop") ? "Nothing was taken: drop a file within a box that has a broken line around it." : "Nothing was taken: files are dropped on the page New.");
});
// Its link is no place of this page, which a hash names.
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
addEventListener("hashchange", () => show().then(() => main.focus()));
show();
