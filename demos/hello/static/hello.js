"use strict";

const find = (id) => document.getElementById(id);

function sizeOf(bytes) {
  if (bytes < 1024) return `${bytes} bytes`;
  const units = ["KiB", "MiB", "GiB"];
  let unit = -1;
  let size = bytes;
  do { size /= 1024; unit += 1; } while (size >= 1024 && unit < units.length - 1);
  return `${size.toFixed(1)} ${units[unit]} (${bytes.toLocaleString("en")} bytes)`;
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

// --- upload: XMLHttpRequest, because fetch does not report how much was sent ---

find("upload-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  const button = form.querySelector("button");
  const progress = find("upload-progress");
  const result = find("upload-result");

  const show = (...nodes) => {
    progress.hidden = true;
    button.disabled = false;
    result.className = "result";
    result.replaceChildren(...nodes);
  };
  const fail = (text) => {
    show(document.createTextNode(text));
    result.classList.add("failed");
  };

  const request = new XMLHttpRequest();
  request.open("POST", form.action);
  request.responseType = "json";
  request.setRequestHeader("X-XSRFToken", document.querySelector("input[name=_xsrf]").value);
  request.upload.addEventListener("progress", (sent) => {
    if (sent.lengthComputable) progress.value = sent.loaded / sent.total;
  });
  request.addEventListener("error", () => fail("The connection was lost."));
  request.addEventListener("load", () => {
    if (request.status !== 200) return fail(`The server answered ${request.status} ${request.statusText}.`);
    show(...request.response.files.map((file) => {
      const row = element("div", "");
      row.className = "file";
      row.append(element("strong", file.name), element("span", `${sizeOf(file.size)}, SHA-256`), element("code", file.sha256));
      return row;
    }));
  });

  button.disabled = true;
  result.replaceChildren();
  progress.value = 0;
  progress.hidden = false;
  request.send(new FormData(form));
});

// --- JSON ---

find("json-button").addEventListener("click", async (event) => {
  const result = find("json-result");
  try {
    const response = await fetch(event.target.dataset.url);
    result.textContent = JSON.stringify(await response.json(), null, 2);
  } catch (error) {
    result.textContent = String(error);
  }
});

// --- waiting: ask for the time ten times a second until the slow answer is there ---

find("wait-button").addEventListener("click", async (event) => {
  const button = event.target;
  const result = find("wait-result");
  button.disabled = true;
  let waiting = true;
  let answered = 0;
  const slow = fetch(button.dataset.url).finally(() => { waiting = false; });
  try {
    while (waiting) {
      await fetch(button.dataset.other);
      answered += 1;
      result.textContent = `Waiting… ${answered} other requests answered`;
      await new Promise((done) => setTimeout(done, 100));
    }
    const { waited } = await (await slow).json();
    result.textContent = `Waited ${waited} seconds; ${answered} other requests were answered meanwhile.`;
  } catch (error) {
    result.textContent = String(error);
  }
  button.disabled = false;
});
