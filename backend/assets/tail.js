// Live tail: lines arrive as server-sent events and are shown newest first, at most LINES_MAX of them. Pausing closes the
// stream and keeps its cursor; resuming fetches what arrived since. The browser reconnects after a cut connection, but not
// after the service refused one: this script reports that and retries.
"use strict";
const LINES_MAX = 500;
const TRY_AGAIN_MS = 10000;
const list = document.getElementById("tail");
const state = document.getElementById("tail-state");
const button = document.getElementById("tail-pause");
const template = document.getElementById("tail-line");
let source = null;
let cursor = "";
let shown = 0;
let dropped = 0;
let skipped = false;
let retry = 0;

function say(text) {
  const older = dropped ? ` ${dropped} older lines are not shown.` : "";
  state.textContent = text + older + (skipped ? " Some lines were skipped; see Search." : "");
}

function add(line) {
  const item = template.content.firstElementChild.cloneNode(true);
  item.classList.add(line.level);
  item.dataset.offset = line.offset;
  item.querySelector("time").textContent = line.clock;
  item.querySelector(".level").textContent = line.level;
  item.querySelector(".message").textContent = line.message;
  item.querySelector(".service").textContent = line.service;
  const link = item.querySelector("a");
  if (line.request) link.href = line.request; else link.remove();
  item.querySelector("pre").textContent = line.json;
  list.prepend(item);
  shown += 1;
  while (list.childElementCount > LINES_MAX) {
    list.lastElementChild.remove();
    dropped += 1;
  }
}

function start() {
  const address = new URL(list.dataset.source, location.href);
  if (cursor) address.searchParams.set("cursor", cursor);
  source = new EventSource(address);
  source.addEventListener("open", () => say("Waiting for new lines…"));
  source.addEventListener("lines", (event) => {
    cursor = event.lastEventId || cursor;
    const lines = JSON.parse(event.data);
    lines.forEach(add);
    if (lines.length) say(`${shown} new ${shown === 1 ? "line" : "lines"}.`);
  });
  source.addEventListener("cursor", (event) => { cursor = event.lastEventId || cursor; });
  source.addEventListener("gap", (event) => {
    cursor = event.lastEventId || cursor;
    skipped = true;
    say("Waiting for new lines…");
  });
  source.addEventListener("unavailable", (event) => say(event.data));
  source.addEventListener("end", (event) => {
    source.close();
    retry = setTimeout(start, TRY_AGAIN_MS);
    say(`${event.data} Reconnecting in ${TRY_AGAIN_MS / 1000} s…`);
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) refused();
    else say("Connection lost, reconnecting…");
  });
  button.textContent = "Pause";
  button.setAttribute("aria-pressed", "false");
}

// A page that is being unloaded gets the same event, so the retry is delayed.
function refused() {
  retry = setTimeout(start, TRY_AGAIN_MS);
  say(`Live tail refused: you are logged out, or too many tails are open. Retrying in ${TRY_AGAIN_MS / 1000} s…`);
}

function pause() {
  clearTimeout(retry);
  source.close();
  source = null;
  button.textContent = "Resume";
  button.setAttribute("aria-pressed", "true");
  say("Paused.");
}

button.hidden = false;
button.addEventListener("click", () => (source ? pause() : start()));
start();
