"use strict";

const find = (id) => document.getElementById(id);
const { room, base } = document.body.dataset;
const channel = `room:${room}`;
const labels = { websocket: "WebSocket", events: "Server-sent events", poll: "Long polling" };

/** An element with text and children; everything that others wrote gets into the page as text, never as markup. */
function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// --- who you are: a name for each window, the last one as a suggestion for the next ---

/** Storage that may be forbidden by the browser's settings. */
function stored(storage, key, value) {
  try {
    if (value !== undefined) window[storage].setItem(key, value);
    return window[storage].getItem(key) ?? "";
  } catch {
    return value ?? "";
  }
}

let name = stored("sessionStorage", "name");

function askForName() {
  find("name").value = name || stored("localStorage", "name");
  find("who").showModal();
  find("name").select();
}

find("who").addEventListener("cancel", (event) => {
  if (!name) event.preventDefault();
});
find("who").querySelector("form").addEventListener("submit", (event) => {
  const given = find("name").value.trim();
  if (!given) return event.preventDefault();
  name = stored("sessionStorage", "name", given);
  stored("localStorage", "name", given);
  connect();
  find("text").focus();
});
find("rename").addEventListener("click", () => {
  closeMenu();
  askForName();
});

// --- the connection ---

let live = null;
let cursor = "";

function connect() {
  const choice = stored("sessionStorage", "transport") || "auto";
  const url = (door) => `${base}/${door}?${new URLSearchParams({ name })}`;
  cursor = live?.cursor ?? cursor;
  live?.close();
  find("rename").textContent = name;
  live = new webfw.Live({
    websocket: url("socket"),
    events: url("events"),
    poll: url("poll"),
    send: url("say"),
    transports: choice === "auto" ? Object.keys(labels) : [choice],
    headers: { "X-XSRFToken": document.querySelector("input[name=_xsrf]").value },
    since: cursor,
    minDelay: 300,
    spread: 3000,
    upgrade: 60000,
  });
  const mine = live;
  live.on("message", (data, from) => {
    if (from.channel === channel) receive(data);
    else showPeople(data);
  });
  live.on("lost", (lost) => {
    if (lost === channel) addDivider("Messages may have been lost here", "lost");
  });
  live.on("status", (status) => {
    if (mine === live) showStatus(status);
  });
}

for (const radio of document.querySelectorAll("#transports input")) {
  radio.checked = radio.value === (stored("sessionStorage", "transport") || "auto");
  radio.addEventListener("change", () => {
    stored("sessionStorage", "transport", radio.value);
    if (name) connect();
  });
}

let countdown;

function showStatus({ state, transport, retryIn }) {
  clearInterval(countdown);
  const show = (text) => {
    if (find("status").textContent !== text) find("status").textContent = text;
  };
  find("status").dataset.state = state;
  find("status").dataset.transport = transport;
  if (state === "open") {
    show(labels[transport]);
    // What was said before somebody came is not read out to them.
    setTimeout(() => {
      find("messages").setAttribute("aria-live", "polite");
      find("empty").hidden = find("messages").childElementCount > 0;
    }, 400);
  } else if (state === "refused") {
    show("Refused: load the page again");
  } else if (state === "waiting" && retryIn > 1500) {
    const end = Date.now() + retryIn;
    const tell = () => show(`Connecting again in ${Math.max(1, Math.round((end - Date.now()) / 1000))} s`);
    tell();
    countdown = setInterval(tell, 1000);
  } else if (state !== "closed") {
    show("Connecting");
  }
}

// --- who is here ---

/** One of eight colours, the same for the same name everywhere. */
const hue = (text) => [...text].reduce((sum, character) => (sum * 31 + character.codePointAt(0)) >>> 0, 7) % 8;

function avatar(of) {
  const [letter] = new Intl.Segmenter().segment(of);
  return element("span", { className: `avatar hue-${hue(of)}`, ariaHidden: "true" }, letter.segment.toUpperCase());
}

function showPeople(people) {
  find("count").textContent = people.length || "";
  find("people").replaceChildren(...people.map((one) => {
    const row = element("li", {}, avatar(one), element("span", { className: "who" }, one));
    if (one === name) row.append(element("span", { className: "note" }, "you"));
    return row;
  }));
}

// --- messages ---

const messages = find("messages");
const scroll = find("scroll");
const shown = new Set(); // keys of messages: one that was sent twice is shown once
const pending = new Map(); // key to the row of a message that is on its way
let lastDay = "";
let lastSaid = { name: "", time: 0 };
let unread = 0;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

const atEnd = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;

function toEnd() {
  scroll.scrollTop = scroll.scrollHeight;
  find("newer").hidden = true;
}

/** The text with its links as links. */
function linked(text) {
  return text.split(/(https?:\/\/[^\s<>"]*[^\s<>".,:;!?')\]])/).map((part, index) => {
    if (index % 2 === 0 || !URL.canParse(part)) return part;
    return element("a", { href: part, rel: "noopener noreferrer nofollow", target: "_blank" }, part);
  });
}

function rowOf({ name: author, text, time }, goesOn) {
  const mine = author === name;
  const row = element("li", { className: `message${mine ? " mine" : ""}${goesOn ? " goes-on" : ""}` });
  const at = new Date(time);
  const head = element("p", { className: "head" }, element("b", {}, author), " ");
  head.append(element("time", { dateTime: at.toISOString(), title: at.toLocaleString() }, clock.format(at)));
  row.append(avatar(author), head, element("p", { className: "text" }, ...linked(text)));
  return row;
}

function append(row, follow) {
  messages.append(row);
  find("empty").hidden = true;
  if (follow) toEnd();
}

function addDivider(text, className) {
  append(element("li", { className: `divider ${className}` }, element("span", {}, text)), atEnd());
  lastSaid = { name: "", time: 0 };
}

function receive(data) {
  const follow = atEnd();
  const waiting = pending.get(data.key);
  waiting?.remove();
  pending.delete(data.key);
  if (shown.has(data.key)) return;
  shown.add(data.key);
  const day = calendar.format(data.time);
  if (day !== lastDay) addDivider(day, "day");
  lastDay = day;
  const goesOn = lastSaid.name === data.name && data.time - lastSaid.time < 180000;
  lastSaid = data;
  append(rowOf(data, goesOn), follow || waiting);
  for (const row of pending.values()) messages.append(row); // what is still on its way stays below
  if (!follow && !waiting) find("newer").hidden = false;
  if (document.hidden) showUnread(unread + 1);
}

function showUnread(count) {
  unread = count;
  document.title = `${count ? `(${count}) ` : ""}${room} · Chat`;
}

document.addEventListener("visibilitychange", () => document.hidden || showUnread(0));
scroll.addEventListener("scroll", () => { if (atEnd()) find("newer").hidden = true; });
find("newer").addEventListener("click", toEnd);
new ResizeObserver(() => { if (find("newer").hidden) toEnd(); }).observe(scroll);

// --- writing ---

/** Milliseconds after which a message that was handed over, and has not come back, is taken for lost on its way. */
const PATIENCE = 8000;

const newKey = () => crypto.getRandomValues(new Uint32Array(3)).join("-");

/** Sends a message; the same key, should it be sent again, has it shown once whatever arrives. */
async function say(text, key = newKey()) {
  const row = rowOf({ name, text, time: Date.now() }, lastSaid.name === name);
  row.classList.add("pending");
  pending.set(key, row);
  append(row, true);
  try {
    await live.send({ text, key });
    await new Promise((done) => setTimeout(done, PATIENCE));
    if (pending.get(key) === row) throw new Error("it did not arrive");
  } catch (error) {
    if (pending.get(key) === row) offerAgain(row, text, key, error.message);
  }
}

function offerAgain(row, text, key, reason) {
  row.classList.replace("pending", "failed");
  const again = element("button", { type: "button", className: "link" }, "Try again");
  again.addEventListener("click", () => {
    row.remove();
    say(text, key);
  });
  row.append(element("p", { className: "trouble", role: "alert" }, `Not sent: ${reason}. `, again));
  toEnd();
}

const field = find("text");

function fit() {
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight + 2}px`;
}

field.addEventListener("input", fit);
field.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  find("composer").requestSubmit();
});
find("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = field.value.trim();
  if (!text || !live) return;
  say(text);
  field.value = "";
  fit();
  field.focus();
});

// --- the menu of small screens ---

function closeMenu() {
  document.body.classList.remove("menu-open");
  find("menu").setAttribute("aria-expanded", "false");
  find("shade").hidden = true;
}

find("menu").addEventListener("click", () => {
  const open = document.body.classList.toggle("menu-open");
  find("menu").setAttribute("aria-expanded", String(open));
  find("shade").hidden = !open;
});
find("shade").addEventListener("click", closeMenu);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") closeMenu(); });

// --- begin ---

if (name) connect();
else askForName();
