"use strict";

/** A value that is well drawn and well read: a line over time as SVG, with its scale and a cursor. */
class Chart {
  static #NS = "http://www.w3.org/2000/svg";
  static #HEIGHT = 150;
  static #LEFT = 44;
  static #BOTTOM = 20;
  static #TOP = 8;
  /** Milliseconds between two samples after which the line has a gap. */
  static #GAP = 3000;

  #card; #svg; #value; #legend; #range; #series; #options; #samples = []; #cursor = null; #width = 0;

  /** @param {HTMLElement} card with the options as data attributes */
  constructor(card, span, onCursor) {
    const { chart, unit, digits, least, free, series, steps } = card.dataset;
    this.#card = card;
    this.#series = series ? series.split(",") : [""];
    this.#options = {
      name: chart,
      title: card.querySelector("h2").textContent,
      unit, digits: Number(digits), least: Number(least ?? 0), free: free && Number(free), steps: steps !== undefined, span,
    };
    this.#value = document.createElement("p");
    this.#value.className = "value";
    this.#value.textContent = "–";
    this.#range = document.createElement("p");
    this.#range.className = "range";
    this.#svg = this.#make("svg", { role: "img", height: Chart.#HEIGHT });
    card.append(this.#value, this.#range, this.#svg);
    new ResizeObserver(() => this.#resize()).observe(card);
    this.#svg.addEventListener("pointermove", (event) => onCursor(this.#timeAt(event)));
    this.#svg.addEventListener("pointerleave", () => onCursor(null));
  }

  /** Shows samples, oldest first; the chart ends with the last one. */
  show(samples) {
    this.#samples = samples;
    this.#draw();
  }

  /** Shows the values at that time, null for the present. */
  setCursor(time) {
    this.#cursor = time;
    this.#draw();
  }

  #make(name, attributes = {}, text = "") {
    const made = document.createElementNS(Chart.#NS, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  }

  #resize() {
    const style = getComputedStyle(this.#card);
    const width = Math.floor(this.#card.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight));
    if (width === this.#width) return;
    this.#width = width;
    this.#svg.setAttribute("width", width);
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${Chart.#HEIGHT}`);
    this.#draw();
  }

  #timeAt(event) {
    const { left } = this.#svg.getBoundingClientRect();
    const part = (event.clientX - left - Chart.#LEFT) / (this.#width - Chart.#LEFT);
    return this.#end - this.#options.span * (1 - Math.min(1, Math.max(0, part)));
  }

  get #end() { return this.#samples.at(-1)?.time ?? 0; }

  #get(sample, series) {
    const value = sample[this.#options.name];
    return series ? value[series] : value;
  }

  #format(value, unit = this.#options.unit) {
    return `${value.toFixed(this.#options.digits)}${unit && `\u202f${unit}`}`;
  }

  /** The lowest and highest value of the scale and the distance of its lines, all of them round numbers. */
  #scale(values) {
    const { least, free } = this.#options;
    let [low, high] = [free ? Math.min(...values) : 0, Math.max(...values, least)];
    if (free) {
      const more = Math.max(0, free - (high - low)) / 2;
      [low, high] = [Math.max(0, low - more), high + more];
    }
    const rough = (high - low) / 3;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough && (size % 1 === 0 || !this.#options.steps));
    return { low: Math.floor(low / step) * step, high: Math.ceil(high / step) * step, step };
  }

  #draw() {
    const samples = this.#samples.filter(({ time }) => time >= this.#end - this.#options.span);
    if (!samples.length || this.#width < 60) return;
    const values = samples.flatMap((sample) => this.#series.map((series) => this.#get(sample, series)));
    const { low, high, step } = this.#scale(values);
    const right = this.#width - 2;
    const bottom = Chart.#HEIGHT - Chart.#BOTTOM;
    const x = (time) => right - (this.#end - time) / this.#options.span * (right - Chart.#LEFT);
    const y = (value) => bottom - (value - low) / (high - low) * (bottom - Chart.#TOP);
    const parts = [];

    for (let line = low; line <= high + step / 2; line += step) {
      const at = Math.round(y(line)) + 0.5;
      parts.push(this.#make("line", { class: "grid", x1: Chart.#LEFT, x2: right, y1: at, y2: at }));
      parts.push(this.#make("text", { x: Chart.#LEFT - 8, y: at + 4, "text-anchor": "end" }, String(Number(line.toFixed(2)))));
    }
    const minutes = this.#options.span / 60000;
    for (let minute = 0; minute <= minutes; minute++) {
      const anchor = minute === 0 ? "end" : minute === minutes ? "start" : "middle";
      const at = x(this.#end - minute * 60000);
      parts.push(this.#make("text", { x: at, y: Chart.#HEIGHT - 4, "text-anchor": anchor }, minute ? `${minute} min ago` : "now"));
    }
    this.#series.forEach((series, number) => {
      for (const run of this.#runs(samples)) {
        const points = run.map((sample) => [x(sample.time).toFixed(1), y(this.#get(sample, series)).toFixed(1)]);
        const line = points.map(([px, py], index) => (index && this.#options.steps ? `H${px}V${py}` : `${index ? "L" : "M"}${px} ${py}`)).join("");
        // An area says how much there is, which it cannot where the scale does not begin at nothing.
        if (this.#options.free === undefined && points.length > 1) {
          parts.push(this.#make("path", { class: "area", d: `${line}V${bottom}H${points[0][0]}Z` }));
        }
        // A point of its own has no length: a round cap shows it all the same.
        parts.push(this.#make("path", { class: `line series-${number}`, d: points.length > 1 ? line : `${line}h0.01`, "data-points": points.length }));
      }
    });
    const shown = this.#cursor === null ? samples.at(-1) : this.#nearest(samples);
    if (this.#cursor !== null) {
      parts.push(this.#make("line", { class: "cursor", x1: x(shown.time), x2: x(shown.time), y1: Chart.#TOP, y2: bottom }));
    }
    this.#series.forEach((series, number) => {
      parts.push(this.#make("circle", { class: `dot series-${number}`, r: 3.5, cx: x(shown.time), cy: y(this.#get(shown, series)) }));
    });
    this.#svg.replaceChildren(...parts);
    this.#tell(shown, values);
  }

  /** The samples without those between which something is missing. */
  #runs(samples) {
    const runs = [];
    samples.forEach((sample, index) => {
      if (!index || sample.time - samples[index - 1].time > Chart.#GAP) runs.push([]);
      runs.at(-1).push(sample);
    });
    return runs;
  }

  #nearest(samples) {
    const distance = ({ time }) => Math.abs(time - this.#cursor);
    return samples.reduce((best, sample) => (distance(sample) < distance(best) ? sample : best));
  }

  #tell(shown, values) {
    const { title } = this.#options;
    const texts = this.#series.map((series) => this.#format(this.#get(shown, series)));
    if (this.#series.length === 1) {
      this.#value.textContent = texts[0];
    } else {
      this.#value.replaceChildren(...this.#series.map((series, number) => {
        const part = document.createElement("span");
        part.className = `key series-${number}`;
        part.textContent = `${series} ${this.#format(this.#get(shown, series), "")}`;
        return part;
      }));
    }
    const span = `${this.#format(Math.min(...values), "")} to ${this.#format(Math.max(...values))}`;
    this.#range.textContent = this.#cursor === null ? span : new Date(shown.time).toLocaleTimeString();
    const now = this.#series.map((series, number) => `${series} ${texts[number]}`.trim()).join(", ");
    this.#svg.setAttribute("aria-label", `${title}: ${now}; ${span} in the time shown`);
  }
}
