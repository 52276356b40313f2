// Keys and live changes. The pages work without: nothing is shown or sent here that they do not show or send themselves.
"use strict";

const OFF = "gihan-desk-keys-off";
const rows = () => [...document.querySelectorAll("tr[data-key]")];
const link = (row) => row.querySelector("th a");

function keysOff() {
  try { return localStorage.getItem(OFF) === "1"; } catch { return false; }
}

function move(by) {
  const all = rows();
  const here = all.indexOf(document.activeElement.closest("tr[data-key]"));
  const to = all[here < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(here + by, 0), all.length - 1)];
  if (to) link(to).focus();
}

const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  o: () => { const row = document.activeElement.closest("tr[data-key]"); if (row) link(row).click(); },
  x: () => { const row = document.activeElement.closest("tr[data-key]"); row?.querySelector("input[type=checkbox]")?.click(); },
  f: () => document.querySelector(".filter select, .filter input:not([type=hidden])")?.focus(),
  g: () => { location.href = `/desk/${document.documentElement.lang}/`; },
  "?": () => { location.href = `/desk/${document.documentElement.lang}/keys`; },
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || keysOff()) return;
  if (event.target.closest("input:not([type=checkbox]), textarea, select")) return;
  if (KEYS[event.key]) { event.preventDefault(); KEYS[event.key](); }
});

const box = document.getElementById("keys-off");
if (box) {
  box.checked = keysOff();
  box.addEventListener("change", () => { try { localStorage.setItem(OFF, box.checked ? "1" : "0"); } catch { /* not kept */ } });
}

// Where nobody is in the middle of something, the new list takes the place of the old one; else a link offers it.
async function renew(changed) {
  const list = document.getElementById("list");
  if (list.querySelector("input:checked") || list.contains(document.activeElement)) return false;
  const answer = await fetch(location.href, { headers: { Accept: "text/html", "X-Gihan-Live": "1" } });
  if (!answer.ok || answer.redirected) return false;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  list.replaceWith(page.getElementById("list"));
  for (const row of rows()) if (changed.includes(row.dataset.key)) row.classList.add("changed");
  return true;
}

const live = document.getElementById("live");
if (live && window.EventSource) {
  const stream = new EventSource(live.dataset.listen);
  stream.onmessage = async (event) => {
    const { changed } = JSON.parse(event.data);
    const said = live.dataset.changed.replace("#", changed.length);
    if (await renew(changed).catch(() => false)) { live.textContent = said; return; }
    const again = document.createElement("a");
    again.href = location.href;
    again.textContent = live.dataset.show;
    live.replaceChildren(`${said} `, again);
  };
  stream.addEventListener("over", () => { stream.close(); live.textContent = live.dataset.over; });
}
