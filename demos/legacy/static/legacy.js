"use strict";

const find = (id) => document.getElementById(id);

// --- ticks: the loop's own pulse ---

const BARS = 40;
const TICK = 250;
const gaps = [];
let last = 0;

function tick({ time, requests }) {
  for (const [part, count] of Object.entries(requests)) find(`count-${part}`).textContent = count.toLocaleString("en");
  if (last) {
    gaps.push(time - last);
    if (gaps.length > BARS) gaps.shift();
    find("ticks").replaceChildren(...gaps.map((gap) => {
      const bar = document.createElement("i");
      bar.style.height = `${Math.min(100, (gap / TICK) * 50)}%`;
      return bar;
    }));
    find("gap").textContent = `${Math.max(...gaps)} ms`;
  }
  last = time;
}

// --- news: what Flask and Django tell ---

const SHOWN = 20;

function tell({ source, text, time }) {
  const item = document.createElement("li");
  item.className = source;
  const who = document.createElement("b");
  who.textContent = source === "flask" ? "Flask" : "Django";
  const what = document.createElement("span");
  what.textContent = text;
  const when = document.createElement("time");
  when.textContent = new Date(time).toLocaleTimeString("en-GB");
  item.append(who, what, when);
  find("news").prepend(item);
  while (find("news").children.length > SHOWN) find("news").lastChild.remove();
  find("empty").hidden = true;
}

const live = new webfw.Live({ websocket: "/live", minDelay: 300, spread: 1000 });

live.on("message", (data, { channel }) => (channel === "ticks" ? tick : tell)(data));

live.on("status", ({ state }) => {
  if (state !== "open") last = 0;
  find("status").dataset.state = state;
  find("status").textContent = { open: "Live", refused: "Refused", closed: "Closed" }[state] ?? "Connecting";
});

// --- the forms ---

find("sign").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  const body = new URLSearchParams(new FormData(form));
  const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/json" } });
  if (answer.ok) find("text").value = "";
});

find("slow").addEventListener("click", async ({ currentTarget: button }) => {
  button.disabled = true;
  const count = Number(button.dataset.count);
  const begin = performance.now();
  find("slow-result").textContent = `${count} requests sleep in Flask; the ticks go on.`;
  await Promise.allSettled(Array.from({ length: count }, (_, n) => fetch(`${button.dataset.url}?${n}`, { cache: "no-store" })));
  find("slow-result").textContent = `${count} requests took ${((performance.now() - begin) / 1000).toFixed(1)} s.`;
  button.disabled = false;
});
