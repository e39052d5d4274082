// Shows how far a task is in the element with data-progress, while the task runs. No library, no reload.
"use strict";

const box = document.querySelector("[data-progress]");
const bar = box.querySelector("progress");
const words = box.querySelector("[data-words]");

function show(progress) {
  box.dataset.state = progress.state;
  if (progress.of) {
    bar.max = progress.of;
    bar.value = progress.done;
  }
  if (progress.state === "SUCCESS") {
    bar.value = bar.max;
    words.textContent = "Done. ";
    const link = document.createElement("a");
    link.href = progress.result;
    link.textContent = "Download the file";
    words.append(link);
  } else if (progress.error) {
    words.textContent = progress.error;
  } else if (progress.of) {
    words.textContent = `${progress.done} of ${progress.of}`;
  }
  return ["SUCCESS", "FAILURE", "REVOKED"].includes(progress.state);
}

if (box.dataset.socket) {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(`${scheme}//${location.host}${box.dataset.socket}`);
  socket.onmessage = (message) => show(JSON.parse(message.data));
} else {
  // It connects again by itself when the line breaks; when the task has ended there is nothing to come.
  const source = new EventSource(box.dataset.events);
  source.onmessage = (message) => show(JSON.parse(message.data)) && source.close();
}
