// Which page is shown. A page is a function: what it needs -> its elements; what it starts ends with `signal`.

import { clips } from "./clips.js";
import { h } from "./dom.js";
import { fleet } from "./fleet.js";
import { job } from "./job.js";
import { fresh } from "./new.js";

const PAGES = { clips, job, new: fresh, fleet };
const main = document.getElementById("main");
let ending = new AbortController();

async function show() {
  ending.abort();
  ending = new AbortController();
  const { signal } = ending;
  const [name = "clips", ...rest] = location.hash.replace(/^#\/?/, "").split("/").filter(Boolean);
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#/${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  main.setAttribute("aria-busy", "true");
  let shown;
  try {
    shown = await (PAGES[name] ?? clips)({ argument: rest.map(decodeURIComponent).join("/"), signal });
  } catch (error) {
    if (signal.aborted) return;
    shown = h("p", { class: "bad", role: "alert" }, error.message);
  }
  if (signal.aborted) return;
  main.replaceChildren(shown);
  main.removeAttribute("aria-busy");
  document.title = `${main.querySelector("h1")?.textContent ?? "WAN farm"} – WAN farm`;
}

addEventListener("hashchange", () => show().then(() => main.focus()));
show();
