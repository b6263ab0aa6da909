"use strict";

const find = (id) => document.getElementById(id);
const { shown, samples: url } = find("charts").dataset;
const xsrf = document.querySelector("input[name=_xsrf]").value;

// --- the charts, all of the same time ---

const samples = [];
const charts = [...document.querySelectorAll("[data-chart]")].map(
  (card) => new Chart(card, shown * 1000, (time) => charts.forEach((chart) => chart.setCursor(time))),
);

let drawing = 0;

/** What a newcomer gets comes as 120 messages at once: they are drawn together. */
function draw() {
  drawing ||= requestAnimationFrame(() => {
    drawing = 0;
    charts.forEach((chart) => chart.show(samples));
  });
}

// --- the stream ---

const live = new webfw.Live({ events: url, minDelay: 300, spread: 2000 });

live.on("message", (sample) => {
  samples.push(sample);
  if (samples.length > 2 * shown) samples.splice(0, shown);
  draw();
});

live.on("status", ({ state }) => {
  find("status").dataset.state = state;
  find("status").textContent = { open: "Live", refused: "Refused", closed: "Closed" }[state] ?? "Connecting";
});

// --- the buttons ---

/** Runs something for five seconds, while its button is pressed down. */
function during(id, action) {
  find(id).addEventListener("click", async ({ currentTarget: button }) => {
    button.disabled = true;
    try {
      await action(button.dataset.url, performance.now() + 5000);
    } catch {
      // The server is away: the status says so.
    }
    button.disabled = false;
  });
}

during("requests", async (address, end) => {
  const worker = async () => {
    while (performance.now() < end) await fetch(address, { cache: "no-store" });
  };
  await Promise.all([worker(), worker()]);
});

during("streams", async (address) => {
  const more = [1, 2, 3].map(() => new webfw.Live({ events: address }));
  await new Promise((done) => setTimeout(done, 5000));
  more.forEach((one) => one.close());
});

during("hold-up", (address) => fetch(address, { method: "POST", headers: { "X-XSRFToken": xsrf } }));
