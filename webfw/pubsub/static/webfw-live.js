/*!
 * webfw-live: messages from a webfw server, over a WebSocket, server-sent events or long polling, whichever works.
 * A classic script sets `webfw.Live`; `require` and bundlers get `{ Live }`.  docs/howto/browser-client.md tells more.
 *
 *     const live = new webfw.Live({ websocket: "/ws/lobby", events: "/events/lobby", poll: "/poll/lobby" });
 *     live.on("message", (data, { channel, id }) => ...);
 *     live.on("lost", (channel) => ...);                              // fetch again what the page shows
 *     live.on("status", ({ state, transport, retryIn, reason }) => ...);
 *     await live.send({ text: "hello" });
 */
(() => {
  "use strict";

  /**
   * @typedef {object} Options
   * @property {string} [websocket] URL of a WebSocketHandler
   * @property {string} [events] URL of an EventSourceHandler
   * @property {string} [poll] URL of a LongPollHandler
   * @property {string} [send] URL that takes what `send` is given, as a POST of JSON, while no WebSocket is open
   * @property {string[]} [transports] which to use, the best first
   * @property {string} [since] cursor to start from: `live.cursor` of an earlier page
   * @property {Object<string, string>} [headers] header fields for every request but the WebSocket's
   * @property {RequestCredentials} [credentials] "include" sends cookies to another origin
   * @property {number} [openTimeout] ms until an attempt to open a connection is given up
   * @property {number} [tries] attempts in a row that bring nothing before the next transport has its turn
   * @property {number} [minDelay] ms: the first delay before a new attempt is at most this long
   * @property {number} [maxDelay] ms: no delay is longer, whatever the number of attempts
   * @property {number} [spread] ms: after "service restart" (1012) come back within this time
   * @property {number} [silence] ms without a sign of life after which a connection is taken for dead
   * @property {number} [upgrade] ms between attempts to return to a better transport
   * @property {number} [queue] messages kept for sending while there is no connection
   * @property {number} [remember] ids per channel that are known as delivered
   */
  const DEFAULTS = {
    transports: ["websocket", "events", "poll"], since: "", headers: {}, credentials: "same-origin",
    openTimeout: 8000, tries: 2, minDelay: 500, maxDelay: 30000, spread: 5000, silence: 60000, upgrade: 300000,
    queue: 100, remember: 1000,
  };

  /** A connection must last this long (ms) before the next failure counts as the first. */
  const STABLE = 5000;

  /** Why a connection ended.  `wait`: ms the server asks for; `refused`: do not come back. */
  class Ended extends Error {
    constructor(reason, { wait = 0, refused = false } = {}) {
      super(reason);
      Object.assign(this, { wait, refused });
    }
  }

  const parse = (text) => { try { return JSON.parse(text); } catch { return text; } };
  const absolute = (url) => new URL(url, globalThis.document?.baseURI ?? location.href);

  /** The answer to a request, if it is one to go on with; else throws Ended. */
  async function request(url, options, init) {
    const headers = { ...options.headers, ...init.headers };
    const response = await fetch(url, { credentials: options.credentials, cache: "no-store", ...init, headers });
    const { status } = response;
    if (response.ok && (status !== 204 || init.method)) return response;
    const passing = status >= 500 || [408, 421, 425, 429].includes(status);
    const wait = 1000 * (parseFloat(response.headers.get("Retry-After")) || 0);
    throw new Ended(`HTTP ${status}`, { wait, refused: !passing });
  }

  // --- transports: each runs until its connection has ended, and returns or throws why ---

  const TRANSPORTS = {
    websocket: (link) => new Promise((resolve) => {
      const url = link.url();
      url.protocol = url.protocol.replace("http", "ws");
      const socket = new WebSocket(url);
      socket.binaryType = "arraybuffer";
      socket.onopen = () => {
        link.send = (text) => {
          if (socket.readyState !== WebSocket.OPEN) throw new Ended("closing"); // where send() would say nothing
          socket.send(text);
        };
        link.open();
      };
      socket.onmessage = ({ data }) => link.receive(typeof data === "string" ? parse(data) : new Uint8Array(data));
      socket.onclose = ({ code, reason }) => resolve(new Ended(`${code} ${reason}`.trim(), {
        refused: code === 1008 || code >= 4000,
        wait: code === 1012 ? Math.random() * link.options.spread : 0,
      }));
      link.signal.addEventListener("abort", () => socket.close());
    }),

    /** By fetch, not EventSource: that hides the status and the heartbeats, which are comments. */
    async events(link) {
      const { body, headers } = await link.fetch("text/event-stream");
      if (!headers.get("Content-Type")?.startsWith("text/event-stream")) return new Ended("not an event stream");
      link.open();
      link.audible = true;
      const reader = body.getReader();
      const decoder = new TextDecoder();
      let [rest, data, wait] = ["", [], 0];
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return new Ended("end of stream", { wait });
        link.heardAt = Date.now();
        // A CR at the end may be half of a CRLF: it waits for what follows.
        const lines = (rest + decoder.decode(value, { stream: true })).split(/\r\n|\n|\r(?!$)/);
        rest = lines.pop();
        for (const line of lines) {
          const [, field, text] = /^([^:]*):? ?(.*)$/s.exec(line);
          if (field === "data") data.push(text);
          else if (field === "retry" && /^\d+$/.test(text)) wait = Number(text);
          else if (line === "" && data.length) link.receive(parse(data.splice(0).join("\n")));
        }
      }
    },

    async poll(link) {
      link.audible = true;
      for (let last = ""; ;) {
        const asked = Date.now();
        // The first request does not wait for news: its answer says that there is a connection.
        const answer = await link.fetch("application/json", last ? {} : { wait: 0 });
        const { cursor, messages, retry } = await answer.json();
        link.open();
        for (const message of messages) link.receive(message);
        link.moveTo(new URLSearchParams(cursor));
        if (retry !== undefined) return new Ended("going away", { wait: retry });
        // A server that answers at once with nothing new is not to be asked in a tight loop.
        if (cursor === last && Date.now() - asked < 500) await new Promise((next) => setTimeout(next, 500));
        last = cursor;
      }
    },
  };

  /** One connection, from the first attempt to its end. */
  class Link {
    constructor(transport, options, owner, ids) {
      Object.assign(this, { transport, options, owner, ids });
      /** @type {?function(string)} sends a text over the connection, where the transport can */
      this.send = null;
      this.heardAt = Date.now();
      this.audible = false; // whether signs of life are to be expected
      this.openedAt = this.heard = 0;
      this.over = false;
      this.abort = new AbortController();
      this.signal = this.abort.signal;
      this.timer = setTimeout(() => this.end(new Ended("not opened in time")), options.openTimeout);
      const run = async () => TRANSPORTS[transport](this);
      run().catch((error) => error).then((why) => this.end(why));
    }

    url(more = {}) {
      const url = absolute(this.options[this.transport]);
      for (const [name, value] of Object.entries(more)) url.searchParams.set(name, value);
      if (this.ids.size) url.searchParams.set("since", new URLSearchParams([...this.ids]));
      return url;
    }

    fetch(type, more) {
      return request(this.url(more), this.options, { headers: { Accept: type }, signal: this.signal });
    }

    open() {
      if (this.over || this.openedAt) return;
      clearTimeout(this.timer);
      this.openedAt = Date.now();
      this.owner.opened(this);
    }

    receive(envelope) {
      if (this.over) return;
      this.heardAt = Date.now();
      this.heard += 1;
      this.owner.received(envelope, this);
    }

    moveTo(positions) {
      this.heardAt = Date.now();
      if (!this.over) for (const [channel, id] of positions) this.ids.set(channel, id);
    }

    end(why) {
      if (this.over) return;
      this.stop();
      this.owner.ended(this, why);
    }

    stop() {
      this.over = true;
      clearTimeout(this.timer);
      this.abort.abort();
    }
  }

  /** Stays connected to a webfw server, and goes on after every interruption where it was. */
  class Live {
    #options; #transports;
    #state = "connecting";
    #listeners = new Map();
    #ids; #seen = new Map();
    #link = null; #probe = null; #retry; #watch; #watched = Date.now();
    #level = 0; #failures = 0; #misses = 0; #proven = new Set(); #nextUpgrade = Infinity;
    #queue = []; #sending = false;
    #finished = new AbortController();

    /** @param {Options} options */
    constructor(options) {
      this.#options = options = { ...DEFAULTS, ...options };
      this.#transports = options.transports.filter((name) => TRANSPORTS[name] && options[name]);
      if (!this.#transports.length) throw new TypeError("webfw.Live needs a URL for at least one of its transports");
      this.#ids = new Map(new URLSearchParams(options.since));
      const { signal } = this.#finished;
      globalThis.addEventListener?.("online", () => this.#wake(true), { signal });
      globalThis.addEventListener?.("pagehide", () => this.#rest(), { signal });
      globalThis.addEventListener?.("pageshow", ({ persisted }) => persisted && this.#wake(true), { signal });
      globalThis.document?.addEventListener("visibilitychange", () => document.hidden || this.#wake(false), { signal });
      this.#watch = setInterval(() => this.#look(), Math.min(options.silence, options.upgrade) / 4);
      queueMicrotask(() => this.#connect()); // once the listeners are there
    }

    /** "connecting", "open", "waiting" (for the next attempt), "refused" or "closed". */
    get state() { return this.#state; }
    get transport() { return this.#link?.transport ?? this.#transports[this.#level]; }
    /** The position in all channels; as `since` of another Live it goes on from here. */
    get cursor() { return new URLSearchParams([...this.#ids]).toString(); }

    /**
     * Adds a listener; returns a function that removes it.
     * - "message": (data, {channel, id}); data is a JSON value, a string, or a Uint8Array
     * - "lost": (channel); messages between the last one and the next one will never come
     * - "status": ({state, transport, retryIn, reason}); retryIn in ms
     * - "envelope": (value); whatever else the server sent, `joined` included
     */
    on(name, listener) {
      const all = this.#listeners.get(name) ?? new Set();
      this.#listeners.set(name, all.add(listener));
      return () => all.delete(listener);
    }

    /**
     * Sends a JSON value; before there is a connection it is queued.  The promise is fulfilled when the WebSocket has
     * taken it or the POST was answered.  A POST without an answer is repeated: it may arrive twice, never not at all.
     */
    async send(value) {
      if (this.#finished.signal.aborted) throw new Error(`the connection is ${this.#state}`);
      if (this.#queue.length >= this.#options.queue) throw new RangeError("too much is waiting to be sent");
      const text = JSON.stringify(value);
      const sent = new Promise((resolve, reject) => this.#queue.push({ text, resolve, reject }));
      this.#flush();
      return sent;
    }

    close() { this.#finish("closed"); }

    // --- connecting ---

    #connect() {
      if (this.#finished.signal.aborted) return;
      this.#link = new Link(this.#transports[this.#level], this.#options, this.#hooks, this.#ids);
      this.#tell("connecting");
    }

    #hooks = {
      opened: (link) => {
        if (link === this.#probe) {
          clearTimeout(this.#retry);
          this.#link.stop();
          this.#probe = null;
          this.#link = link;
          this.#level = this.#transports.indexOf(link.transport);
        }
        this.#proven.add(link.transport);
        // What has worked before will probably work again soon; what never did is not tried often.
        const soon = this.#transports.slice(0, this.#level).some((name) => this.#proven.has(name));
        this.#nextUpgrade = this.#level ? Date.now() + this.#options.upgrade / (soon ? 10 : 1) : Infinity;
        this.#tell("open");
        this.#flush();
      },

      received: (envelope, link) => {
        this.#misses = 0;
        const { channel, id, data, base64, joined, lost } = Object(envelope);
        if (lost) {
          this.#emit("lost", channel);
        } else if (data === undefined && base64 === undefined) {
          if (joined) link.moveTo([[channel, id]]);
          // {} is a heartbeat: those of the WebSocket protocol are hidden from scripts.
          if (JSON.stringify(envelope) === "{}") link.audible = true;
          else this.#emit("envelope", envelope);
        } else if (this.#isNew(channel, id)) {
          const bytes = () => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
          this.#emit("message", base64 === undefined ? data : bytes(), { channel, id });
        }
      },

      ended: (link, why) => {
        if (link === this.#probe) {
          this.#probe = null;
          this.#nextUpgrade = why.refused || !this.#level ? Infinity : Date.now() + this.#options.upgrade;
          if (link.transport === this.#link.transport) this.#link.end(why); // what was in doubt is dead
          return;
        }
        const { tries, minDelay, maxDelay } = this.#options;
        if (why.refused) return this.#finish("refused", why.message);
        if (link.openedAt && Date.now() - link.openedAt > STABLE) this.#failures = 0;
        const delay = Math.min(maxDelay, minDelay * 2 ** this.#failures++);
        // One that has worked before is given more time: more likely the server is down than the way is blocked.
        if (!link.heard && ++this.#misses >= (this.#proven.has(link.transport) ? 3 * tries : tries)) {
          this.#misses = 0;
          this.#level = (this.#level + 1) % this.#transports.length;
        }
        const retryIn = Math.round((why.wait || 0) + Math.random() * delay);
        this.#retry = setTimeout(() => this.#connect(), retryIn);
        this.#tell("waiting", { retryIn, reason: why.message });
      },
    };

    get #quiet() { return Date.now() - this.#link.heardAt > this.#options.silence; }

    /** Opens a second connection that takes the place of the present one if it succeeds. */
    #replace(level) {
      this.#probe ??= new Link(this.#transports[level], this.#options, this.#hooks, this.#ids);
    }

    /** The page has been left, but may be kept for the way back: it must not hold a connection meanwhile. */
    #rest() {
      clearTimeout(this.#retry);
      this.#link?.stop();
      this.#probe?.stop();
      this.#probe = null;
      this.#tell("waiting", { reason: "the page was left" });
    }

    /** The page is seen again, or the network has changed (`moved`): do not wait, and do not trust what is quiet. */
    #wake(moved) {
      if (this.#state === "waiting") {
        clearTimeout(this.#retry);
        this.#connect();
      } else if (this.#state === "open" && (moved || this.#quiet)) {
        this.#replace(this.#level);
      }
    }

    /** Every now and then: is the connection alive, has the computer slept, is it time for a better transport? */
    #look() {
      const now = Date.now();
      const slept = now - this.#watched > this.#options.silence + 90000; // hidden pages wake once a minute
      this.#watched = now;
      if (this.#state !== "open") return;
      if (slept) this.#wake(true);
      else if (this.#link.audible && this.#quiet) this.#link.end(new Ended("nothing heard"));
      else if (now > this.#nextUpgrade) this.#replace(0);
    }

    // --- messages ---

    #isNew(channel, id) {
      if (id === undefined) return true;
      this.#ids.set(channel, id); // only one connection delivers at a time, so where it stands we stand
      const seen = this.#seen.get(channel) ?? new Set();
      if (seen.has(id)) return false;
      this.#seen.set(channel, seen.add(id));
      if (seen.size > this.#options.remember) seen.delete(seen.values().next().value);
      return true;
    }

    async #flush() {
      if (this.#sending) return;
      this.#sending = true;
      while (this.#queue.length && this.#state === "open") {
        const [message] = this.#queue;
        try {
          if (this.#link.send) this.#link.send(message.text);
          else await this.#post(message.text);
          message.resolve();
        } catch (error) {
          if (!error.refused && this.#state !== "closed" && this.#state !== "refused") {
            setTimeout(() => this.#flush(), (error.wait || 0) + (1 + Math.random()) * this.#options.minDelay);
            break;
          }
          message.reject(error);
        }
        this.#queue.shift();
      }
      this.#sending = false;
    }

    async #post(body) {
      const { send, silence } = this.#options;
      if (!send) throw new Ended("sending needs a WebSocket, or a URL as option `send`", { refused: true });
      const headers = { "Content-Type": "application/json" };
      const signal = AbortSignal.timeout(silence);
      await request(absolute(send), this.#options, { method: "POST", body, headers, signal });
    }

    // --- telling ---

    #finish(state, reason) {
      if (this.#finished.signal.aborted) return;
      this.#finished.abort();
      clearTimeout(this.#retry);
      clearInterval(this.#watch);
      this.#link?.stop();
      this.#probe?.stop();
      this.#tell(state, { reason });
      for (const { reject } of this.#queue.splice(0)) reject(new Error(`the connection is ${state}`));
    }

    #tell(state, more) {
      this.#state = state;
      this.#emit("status", { state, transport: this.transport, ...more });
    }

    #emit(name, ...values) {
      for (const listener of [...(this.#listeners.get(name) ?? [])]) {
        try {
          listener(...values);
        } catch (error) {
          reportError(error); // one listener's failure is not the others'
        }
      }
    }
  }

  globalThis.webfw = Object.assign(globalThis.webfw ?? {}, { Live });
  if (typeof module === "object" && module.exports) module.exports = { Live };
})();
