"use strict";

const find = (id) => document.getElementById(id);

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Fetches, and tells what went wrong in the place for it; null then. */
async function ask(url, init, trouble) {
  try {
    const answer = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(10000), ...init });
    if (!answer.ok) throw new Error(await complaint(answer));
    find(trouble).textContent = "";
    return answer;
  } catch (error) {
    const unreachable = error instanceof TypeError || error.name === "TimeoutError";
    find(trouble).textContent = unreachable ? "The server does not answer." : error.message;
    return null;
  }
}

/** What a refusal says: FastAPI in JSON, Flask in plain words. */
async function complaint(answer) {
  const text = await answer.text();
  if (answer.headers.get("Content-Type")?.startsWith("text/plain")) return text;
  try {
    return JSON.parse(text).detail.map(({ loc, msg }) => `${loc.at(-1)}: ${msg}`).join(". ");
  } catch {
    return `The server answers ${answer.status}.`;
  }
}

// --- who one is; not all browsers let a page keep anything ---

function kept(key, value) {
  try {
    if (value !== undefined) localStorage.setItem(key, value);
    return localStorage.getItem(key) ?? "";
  } catch {
    return value ?? "";
  }
}

find("name").value = kept("three-name") || `Guest ${100 + Math.floor(Math.random() * 900)}`;
find("name").addEventListener("change", ({ target }) => kept("three-name", target.value.trim()));
const name = () => find("name").value.trim();

// --- the chat: native handlers, by a WebSocket ---

const SHOWN = 200;
const PATIENCE = 8000;
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const page = crypto.getRandomValues(new Uint32Array(2)).join("-");
const pending = new Map(); // key to the row of a message that has not come back yet
let sent = 0;

function show({ source, name, text, time, key }) {
  pending.get(key)?.remove();
  pending.delete(key);
  add(row(source, name, text, time));
  if (source === "flask") renewBallot();
}

function row(source, name, text, time) {
  const at = element("time", { dateTime: new Date(time).toISOString() }, clock.format(time));
  return element("li", { className: source }, element("b", {}, name), element("span", {}, text), at);
}

function add(item) {
  find("messages").append(item, ...pending.values()); // what is on its way stays below
  while (find("messages").children.length > SHOWN) find("messages").firstChild.remove();
  find("empty").hidden = true;
  toEnd();
}

// Who reads what was said earlier is not moved away from it.
const scroll = find("scroll");
let follow = true;

function toEnd() {
  if (follow) scroll.scrollTop = scroll.scrollHeight;
}

scroll.addEventListener("scroll", () => { follow = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 60; });
new ResizeObserver(toEnd).observe(find("messages"));

const live = new webfw.Live({ websocket: `/chat?page=${page}`, transports: ["websocket"], minDelay: 300, spread: 1000 });
live.on("message", show);
live.on("lost", () => { find("chat-trouble").textContent = "Messages may have been lost while the connection was down."; });
live.on("status", ({ state }) => {
  find("status").dataset.state = state;
  find("status").textContent = { open: "Live", refused: "Refused: load the page again", closed: "Closed" }[state] ?? "Connecting";
  if (state !== "open") return;
  renewBallot(); // there may have been votes while the connection was down
  // What was said before somebody came is not read out to them.
  setTimeout(() => find("messages").setAttribute("aria-live", "polite"), 400);
});

find("say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = find("text").value.trim();
  if (!text || !name()) return;
  const key = `${page}-${sent++}`;
  const mine = row("native pending", name(), text, Date.now());
  pending.set(key, mine);
  add(mine);
  find("text").value = "";
  find("chat-trouble").textContent = "";
  try {
    await live.send({ name: name(), text, key });
    await new Promise((done) => setTimeout(done, PATIENCE));
    if (pending.has(key)) throw new Error("it has not arrived");
  } catch (error) {
    if (!pending.delete(key)) return;
    mine.remove();
    find("chat-trouble").textContent = `Not sent: ${error.message}.`;
    if (!find("text").value) find("text").value = text;
  }
});

// --- the vote: a piece of HTML from Flask ---

const ballot = find("ballot");
let turn = Promise.resolve(); // one after the other, so that a ballot fetched earlier does not come later
let asked = false;

function renewBallot(init) {
  if (!init && asked) return; // somebody waits for the same already
  asked ||= !init;
  turn = turn.then(async () => {
    asked &&= Boolean(init);
    const answer = await ask(ballot.dataset.url, init, "vote-trouble");
    if (!answer) return;
    const html = await answer.text();
    const focused = document.activeElement?.closest("#ballot button")?.value;
    ballot.innerHTML = html; // Flask's own template, which escapes what it shows
    if (focused) ballot.querySelector(`button[value="${CSS.escape(focused)}"]`)?.focus();
  });
}

ballot.addEventListener("submit", (event) => {
  event.preventDefault();
  renewBallot({ method: "POST", body: new URLSearchParams({ game: event.submitter.value, name: name() }) });
});
renewBallot();

// --- dice and numbers: JSON from FastAPI ---

find("roll").addEventListener("submit", async (event) => {
  event.preventDefault();
  const wanted = { name: name(), count: find("dice").value, sides: find("sides").value };
  const init = { method: "POST", body: JSON.stringify(wanted), headers: { "Content-Type": "application/json" } };
  const answer = await ask(event.currentTarget.dataset.url, init, "roll-trouble");
  if (!answer) return find("rolled").replaceChildren();
  const { dice, total } = await answer.json();
  find("rolled").replaceChildren(...dice.map((eyes) => element("i", {}, String(eyes))), dice.length > 1 ? ` = ${total}` : "");
});

const BARS = 60;
const lags = [];

function lasted(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return `${Math.floor(seconds)} s`;
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

async function renewNumbers() {
  const answer = document.hidden ? null : await ask(find("numbers").dataset.url, {}, "numbers-trouble");
  if (answer) {
    const { uptime, lag, people, messages, requests } = await answer.json();
    for (const [part, count] of Object.entries(requests)) find(`count-${part}`).textContent = count.toLocaleString("en");
    find("people").textContent = people;
    find("said").textContent = messages;
    find("uptime").textContent = lasted(uptime);
    find("lag").textContent = `${lag.toFixed(1)} ms`;
    lags.push(lag);
    if (lags.length > BARS) lags.shift();
    find("lags").replaceChildren(...lags.map((ms) => {
      const bar = element("i");
      bar.style.height = `${Math.min(100, ms * 5)}%`;
      return bar;
    }));
  }
  setTimeout(renewNumbers, 1000);
}
renewNumbers();
