/* The form of a schedule in the admin: only the fields of the chosen kind, the arguments of the chosen task, a preview. */
"use strict";
(() => {
  const FIELDS = {
    interval: ["every", "unit"],
    crontab: ["minute", "hour", "day_of_month", "month_of_year", "day_of_week"],
    clocked: ["clocked_time"],
    solar: ["event", "latitude", "longitude"],
  };
  const WAIT = 250; // milliseconds without a key, before the server is asked

  function rowOf(name) {
    const input = document.getElementById(`id_${name}`) || document.getElementById(`id_${name}_0`);
    // Rows are called differently under other skins of the admin.
    return input && (input.closest(".form-row, .field-row, .form-group, .row") || input.parentElement);
  }

  function showKind(kind) {
    for (const [each, names] of Object.entries(FIELDS)) {
      for (const name of names) {
        const row = rowOf(name);
        if (row) row.style.display = each === kind ? "" : "none";
      }
    }
  }

  function later(act) {
    let timer;
    return () => {
      clearTimeout(timer);
      timer = setTimeout(act, WAIT);
    };
  }

  let asked = 0;
  async function ask(url, query) {
    const response = await fetch(`${url}?${query}`, { headers: { Accept: "application/json" } });
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
    return response.json();
  }

  function cell(text) {
    const made = document.createElement("td");
    made.textContent = text;
    return made;
  }

  function here(moment) {
    const options = { weekday: "short", dateStyle: undefined, year: "numeric", month: "2-digit", day: "2-digit",
      hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short" };
    return new Date(moment).toLocaleString(document.documentElement.lang || undefined, options);
  }

  function showPreview(box, found) {
    box.querySelector(".celeriac-words").textContent = found.words;
    const problem = box.querySelector(".celeriac-error");
    problem.textContent = found.problem;
    problem.hidden = !found.problem;
    const table = box.querySelector("table");
    table.hidden = !found.runs.length;
    table.querySelector("th").textContent = found.zone;
    table.querySelector("tbody").replaceChildren(...found.runs.map((run) => {
      const line = document.createElement("tr");
      line.append(cell(run.there), cell(here(run.at)));
      return line;
    }));
    box.querySelector(".celeriac-never").hidden = Boolean(found.runs.length || found.problem);
    box.querySelector(".celeriac-warnings").replaceChildren(...found.warnings.map((text) => {
      const line = document.createElement("p");
      line.className = "celeriac-note celeriac-warning";
      line.textContent = text;
      return line;
    }));
  }

  function watchTimes(form, kind) {
    const box = document.getElementById("celeriac-preview");
    if (!box) return;
    const names = [...Object.values(FIELDS).flat(), "kind", "timezone", "start_time", "end_time", "one_off"];
    const inputs = () => [...form.elements].filter((each) => names.includes(each.name.replace(/_[01]$/, "")));
    const refresh = async () => {
      const number = ++asked;
      const query = new URLSearchParams();
      for (const each of inputs()) {
        if (each.type !== "checkbox" || each.checked) query.append(each.name, each.value);
      }
      try {
        const found = await ask(box.dataset.url, query);
        if (number === asked) showPreview(box, found);
      } catch (error) {
        if (number !== asked) return;
        showPreview(box, { words: "", problem: String(error), zone: "", runs: [], warnings: [] });
      }
    };
    const soon = later(refresh);
    for (const each of inputs()) {
      each.addEventListener("input", soon);
      each.addEventListener("change", soon);
    }
    // Django's calendar and clock set a value without telling anybody.
    form.addEventListener("click", soon);
    for (const time of box.querySelectorAll("time")) time.textContent = here(time.dateTime);
    if (form.querySelector(".errorlist") || !box.querySelector("tbody tr")) refresh();
  }

  function watchTask(form) {
    const task = form.elements.task;
    const box = document.getElementById("id_call");
    const preview = document.getElementById("celeriac-preview");
    if (!task || !box || !preview) return;
    const url = preview.dataset.url.replace(/preview\/$/, "arguments/");
    const note = document.createElement("p");
    note.className = "celeriac-error";
    note.setAttribute("aria-live", "polite");
    note.hidden = true;
    task.after(note);
    let chosen = 0;
    task.addEventListener("change", async () => {
      const number = ++chosen;
      try {
        const found = await ask(url, new URLSearchParams({ task: task.value }));
        if (number !== chosen) return; // another was chosen meanwhile
        note.textContent = found.unknown;
        note.hidden = !found.unknown;
        const was = box.querySelector('[name="call-for"]');
        // Two boxes of JSON stay as they were filled in.
        if (found.json && box.querySelector('[name="call-kwargs"]')) was.value = task.value;
        else box.innerHTML = found.html;
      } catch (error) {
        if (number !== chosen) return;
        note.textContent = String(error);
        note.hidden = false;
      }
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    const kind = document.getElementById("id_kind");
    if (!kind || kind.tagName !== "SELECT") {
      const box = document.getElementById("celeriac-preview");
      for (const time of box ? box.querySelectorAll("time") : []) time.textContent = here(time.dateTime);
      return;
    }
    showKind(kind.value);
    kind.addEventListener("change", () => showKind(kind.value));
    watchTimes(kind.form, kind);
    watchTask(kind.form);
  });
})();
