// Times in the viewer's zone, links to the surrounding Airflow, live counts, and the progress of a run.
"use strict";
(() => {
  const POLL_MS = 4000;
  const IDLE_MS = 15000;
  const ANNOUNCE_MS = 30000;
  const number = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

  function localTimes() {
    const format = new Intl.DateTimeFormat("en-GB", {
      day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short",
    });
    for (const element of document.querySelectorAll("time[datetime]:not([data-day])")) {
      const moment = new Date(element.dateTime);
      element.title = moment.toISOString();
      element.textContent = format.format(moment);
    }
    const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
    for (const element of document.querySelectorAll("time[data-day]")) {
      element.textContent = day.format(new Date(element.dateTime));
    }
  }

  // Date filters are in the viewer's zone, like the times. A filter that is already set keeps the zone of its request.
  function localDays() {
    const field = document.querySelector("input[name=zone]");
    if (!field || field.value) return;
    field.value = new Intl.DateTimeFormat().resolvedOptions().timeZone || "";
    if (!field.value) return;
    for (const label of document.querySelectorAll("[data-zone]")) label.textContent = field.value;
  }

  // The frame is sandboxed: a plain link would open Airflow inside Airflow. So the link is clicked in the parent document.
  function airflowLinks() {
    if (window.parent === window) return;
    document.addEventListener("click", (event) => {
      const link = event.target.closest("a[data-airflow]");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      const outside = window.parent.document.createElement("a");
      outside.href = link.href;
      outside.target = link.target;
      outside.rel = link.rel;
      window.parent.document.body.append(outside);
      outside.click();
      outside.remove();
    });
  }

  // Printing a frame prints only its visible part; a page in its own tab is printed in full.
  function printLink() {
    const link = document.querySelector("[data-alone]");
    if (!link || window.parent === window) return;
    link.href = window.location.href;
    link.hidden = false;
  }

  function jobSwitch() {
    const form = document.querySelector("form[data-switch]");
    if (!form) return;
    form.classList.add("scripted");
    form.querySelector("select").addEventListener("change", () => form.submit());
  }

  async function fetched(address) {
    const answer = await fetch(address, { headers: { Accept: "application/json" }, credentials: "same-origin" });
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error || "The server did not answer.");
    return found;
  }

  // Shows the live counts. Returns how many reviews the run in progress will have read, or null if that is unknown.
  async function showCounts() {
    const list = document.querySelector("[data-counts]");
    if (!list) return null;
    const note = list.querySelector("[data-note]");
    try {
      const found = await fetched(list.dataset.counts);
      for (const name of ["waiting", "scored", "rejected"]) {
        list.querySelector(`[data-count=${name}]`).textContent = found[name] === null ? "–" : number.format(found[name]);
      }
      note.textContent = found.note || (found.waiting ? "will be scored by the next run" : "no new reviews");
      showReasons(found.rejects);
      return found.total;
    } catch (error) {
      for (const each of list.querySelectorAll("[data-count]")) each.textContent = "–";
      note.textContent = error.message;
      const none = document.querySelector("#no-reasons");
      if (none) none.textContent = error.message;
      return null;
    }
  }

  function showReasons(rejects) {
    const table = document.querySelector("#reasons");
    if (!table) return;
    const none = document.querySelector("#no-reasons");
    none.textContent = rejects.length ? "" : "No rejects.";
    none.hidden = rejects.length > 0;
    table.hidden = rejects.length === 0;
    const most = Math.max(...rejects.map((each) => each.count));
    table.tBodies[0].replaceChildren(...rejects.map((each) => {
      const row = document.createElement("tr");
      const name = document.createElement("th");
      name.scope = "row";
      const code = document.createElement("code");
      code.textContent = each.reason;
      const what = document.createElement("span");
      what.className = "note";
      what.textContent = each.review;
      name.append(code, " ", what);
      const count = document.createElement("td");
      count.className = "n";
      count.textContent = number.format(each.count);
      const bar = document.createElement("meter");
      bar.max = most;
      bar.value = each.count;
      bar.setAttribute("aria-hidden", "true");
      count.append(" ", bar);
      row.append(name, count);
      return row;
    }));
  }

  function clock(seconds) {
    const whole = Math.round(seconds);
    return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
  }

  // Polls the newest run: every few seconds while it is in progress, rarely otherwise, and not while the page is hidden.
  function followRun() {
    const live = document.querySelector("[data-progress]");
    if (!live) return;
    const bar = live.querySelector("progress");
    const line = live.querySelector(".live-line");
    const news = document.querySelector("#live-news");
    let before = null;
    let total = null;
    let timer = null;
    let announced = 0;

    // Announces a run to screen readers when it begins and every 30 seconds, not at each change of the line.
    const announce = (words, isNew) => {
      if (!isNew && Date.now() - announced < ANNOUNCE_MS) return;
      announced = Date.now();
      news.textContent = words;
    };

    const poll = async () => {
      timer = null;
      let pause = IDLE_MS;
      try {
        const found = await fetched(live.dataset.progress);
        const isNew = !before || before.run !== found.run || before.state !== found.state;
        if (isNew && before && !found.running) {
          window.location.reload();
          return;
        }
        if (isNew && found.running) total = await showCounts();
        before = found;
        live.hidden = !found.running;
        if (found.running) {
          pause = POLL_MS;
          if (total === null) {
            bar.removeAttribute("value");
          } else {
            bar.max = Math.max(total, found.read, 1);
            bar.value = found.read;
          }
          const shards = found.shards > 1 ? `, ${found.shards_done} of ${found.shards} shards done` : "";
          const speed = found.reviews_per_second ? `, ${found.reviews_per_second.toFixed(1)} reviews/s` : "";
          line.textContent = found.begun ?
            `${number.format(found.read)} read, ${number.format(found.scored)} scored, ` +
              `${number.format(found.rejected)} rejected in ${clock(found.seconds)}${speed}${shards}` :
            `Started ${clock(found.seconds)} ago: loading the model or scoring the first chunk. Nothing is committed yet.`;
          announce(`${isNew ? "A run is in progress: " : ""}${line.textContent}`, isNew);
        }
      } catch {
        // the next poll may succeed
      }
      schedule(pause);
    };
    const schedule = (pause) => {
      if (!document.hidden && timer === null) timer = window.setTimeout(poll, pause);
    };
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) {
        window.clearTimeout(timer);
        timer = null;
      } else {
        schedule(0);
      }
    });
    schedule(0);
  }

  localTimes();
  localDays();
  airflowLinks();
  printLink();
  jobSwitch();
  showCounts();
  followRun();
})();
