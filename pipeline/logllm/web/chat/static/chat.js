// All that comes from logs, models and runbooks goes into the page as text: there is no way to markup in this file.
"use strict";

(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const ITEM = /^[A-Z]\d{1,4}$/;
  const REFRESH_MS = 15000;
  // What reorders text, hides in it or moves a cursor is shown as its number.
  const ODD = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\u{e0000}-\u{e0fff}]/gu;

  const $ = (id) => document.getElementById(id);
  const page = { state: null, detail: null, current: "", asking: null, talk: crypto.randomUUID(), talks: new Map() };

  function make(name, className, text) {
    const node = document.createElement(name);
    if (className) node.className = className;
    if (text !== undefined) put(node, text);
    return node;
  }

  function put(node, text) {
    let at = 0;
    for (const found of String(text).matchAll(ODD)) {
      node.append(text.slice(at, found.index));
      const code = found[0].codePointAt(0).toString(16).padStart(4, "0");
      const odd = document.createElement("span");
      odd.className = "odd";
      odd.textContent = "\\u" + code;
      node.append(odd);
      at = found.index + found[0].length;
    }
    node.append(String(text).slice(at));
    return node;
  }

  // Runbooks write commands between backticks.
  function putCode(node, text) {
    String(text).split(/`([^`\n]+)`/).forEach((part, place) => {
      if (place % 2) node.append(make("code", "", part));
      else put(node, part);
    });
    return node;
  }

  function moment(time) {
    const found = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(:\d\d)?/.exec(time);
    return found ? `${found[1]} ${found[2]}${found[3] && found[3] !== ":00" ? found[3] : ""} UTC` : time;
  }

  function lasting(began, ended) {
    const seconds = (Date.parse(ended) - Date.parse(began)) / 1000;
    if (!(seconds >= 1)) return "";
    if (seconds < 120) return `${Math.round(seconds)} s`;
    return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
  }

  function bars(series, width, height, label) {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("preserveAspectRatio", "none");
    if (label) {
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", label);
    } else svg.setAttribute("aria-hidden", "true");
    const top = Math.max(1, ...series);
    // A short series is as wide as its share, not stretched to a few fat blocks.
    const step = width / Math.max(series.length, 24);
    series.forEach((count, place) => {
      const tall = count > 0 ? Math.max(1.5, (count / top) * (height - 2)) : 0.5;
      const bar = document.createElementNS(SVG, "rect");
      bar.setAttribute("x", String(place * step));
      bar.setAttribute("y", String(height - tall));
      bar.setAttribute("width", String(Math.max(0.5, step * 0.8)));
      bar.setAttribute("height", String(tall));
      svg.append(bar);
    });
    return svg;
  }

  async function load(path) {
    const answer = await fetch(path, { credentials: "same-origin" });
    if (!answer.ok) throw new Error(answer.status === 403 ? "This page is no longer allowed: open it anew." : (await answer.text()).slice(0, 300));
    return answer.json();
  }

  function status(text) {
    const node = $("status");
    if (node.textContent !== text) { node.textContent = ""; put(node, text); }
  }

  // The list.

  function showList() {
    const { incidents, learning } = page.state;
    const list = $("incidents");
    const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.id : "";
    list.replaceChildren();
    for (const row of incidents) {
      const button = make("button", "row");
      button.type = "button";
      button.dataset.id = row.id;
      if (row.id === page.current) button.setAttribute("aria-current", "true");
      const top = make("span", "top");
      top.append(make("span", `chip ${row.severity}`, row.severity), make("span", "service", row.service || "whole log"));
      top.append(make("span", "when", moment(row.started).slice(5, 16)));
      button.append(top, make("span", "title", row.title));
      if (row.series.length > 1) {
        const spark = bars(row.series, 120, 18);
        spark.setAttribute("class", "spark");
        button.append(spark);
      }
      button.addEventListener("click", () => open(row.id));
      const entry = make("li");
      entry.append(button);
      list.append(entry);
      if (row.id === focused) button.focus({ preventScroll: true });
    }
    const none = $("no-incidents");
    none.hidden = incidents.length > 0;
    none.textContent = "";
    if (!incidents.length) put(none, learning ? `No incident yet. Still learning: ${learning}.` : "No incident is kept here yet. New ones appear by themselves.");
  }

  // One incident.

  function itemNode(item) {
    const node = make("div", `item ${item.kind}`);
    node.id = `item-${item.id}`;
    node.tabIndex = -1;
    const text = make("div", "text");
    if (item.kind === "check" || item.kind === "step") putCode(text, item.text);
    else put(text, item.text);
    node.append(make("span", "name", item.id), text);
    const where = [item.time && moment(item.time), item.where].filter(Boolean).join("  ");
    if (where) node.append(make("div", "where", where));
    if (item.tainted) node.append(make("div", "where taint", "Speaks to a language model: it was shown to none."));
    return node;
  }

  function section(body, title, items) {
    if (!items.length) return;
    body.append(make("h3", "", title));
    const group = make("div", "items");
    for (const item of items) group.append(itemNode(item));
    body.append(group);
  }

  function showIncident() {
    const { detail } = page;
    const { row, items } = detail;
    const body = $("incident-body");
    const of = (...kinds) => items.filter((item) => kinds.includes(item.kind));
    $("incident-title").textContent = "";
    put($("incident-title"), row.title);
    document.title = `${row.service || "log"}: incident, logllm`;
    body.replaceChildren();

    const meta = make("div", "meta");
    meta.id = "item-I1";
    meta.tabIndex = -1;
    meta.append(make("span", `chip ${row.severity}`, row.severity));
    if (row.service) meta.append(make("span", "", row.service));
    const span = row.ended ? lasting(row.started, row.ended) : "";
    meta.append(make("span", "", row.ended ? `${moment(row.started)}, ended${span ? ` after ${span}` : ""}` : `since ${moment(row.started)}, not ended`));
    if (detail.count) meta.append(make("span", "", `${detail.count.toLocaleString("en")} records`));
    meta.append(make("span", "id", row.id));
    body.append(meta);

    for (const item of of("compared")) body.append(itemNode(item));
    if (row.series.length > 1) {
      const top = Math.max(...row.series);
      const figure = make("div", "series");
      figure.append(bars(row.series, 600, 72, `Records in each of ${row.series.length} windows, at most ${top}`));
      const ends = make("div", "ends");
      ends.append(make("span", "", `${row.series.length} windows from ${moment(row.started)}`), make("span", "", `at most ${top}`));
      figure.append(ends);
      body.append(figure);
    }
    for (const item of of("series")) body.append(itemNode(item));

    body.append(make("h3", "", "Why"));
    const why = make("div", "why");
    why.append(make("p", "", detail.cause || "It has not been explained."));
    if (detail.confidence > 0) {
      const sure = make("div", "sure");
      const meter = make("progress");
      meter.max = 100;
      meter.value = Math.round(detail.confidence * 100);
      meter.setAttribute("aria-label", "confidence");
      sure.append(meter, make("span", "", `${Math.round(detail.confidence * 100)} % sure, computed from the evidence`));
      why.append(sure);
    }
    if (detail.removed.length) why.append(make("p", "removed", `Taken out by checks: ${detail.removed.join("; ")}`));
    body.append(why);

    section(body, "Evidence", of("line"));
    section(body, "What came first", of("anomaly"));
    section(body, "Changes near its beginning", of("change"));
    section(body, "Facts", of("fact", "new"));
    if (detail.runbook) {
      const by = [detail.risk && `risk ${detail.risk}`, detail.owner && `owner ${detail.owner}`].filter(Boolean).join(", ");
      section(body, `Runbook ${detail.runbook}${by ? ` (${by})` : ""}`, of("runbook"));
      section(body, "Check", of("check"));
      section(body, "Do", of("step"));
    }
    section(body, "Seen before", of("past"));
    section(body, "Templates", of("template"));
  }

  async function open(id, quiet) {
    if (!quiet && id === page.current && page.detail) return;
    try {
      const detail = await load(`/api/incidents/${encodeURIComponent(id)}`);
      const moved = page.current !== id;
      page.detail = detail;
      page.current = id;
      showIncident();
      showList();
      if (moved) {
        stop();
        if (!page.talks.has(id)) page.talks.set(id, []);
        $("talk").replaceChildren(...page.talks.get(id));
        suggest(["What happened?", "Why did it happen?", "What should I do?", "What came before it?"]);
        $("incident").scrollTop = 0;
        if (!quiet) $("incident").focus({ preventScroll: window.innerWidth > 700 });
      }
    } catch (error) {
      status(error.message);
    }
  }

  function light(id) {
    const node = $(`item-${id}`);
    if (!node) return;
    document.querySelectorAll(".lit").forEach((one) => one.classList.remove("lit"));
    node.classList.add("lit");
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    node.scrollIntoView({ block: "center", behavior: calm ? "auto" : "smooth" });
    node.focus({ preventScroll: true });
  }

  // The talk.

  function cite(id) {
    const isItem = ITEM.test(id);
    const link = make("a", "cite", id);
    link.href = isItem ? `#item-${id}` : "#incident";
    link.setAttribute("aria-label", isItem ? `Show ${id} in the evidence` : `Open incident ${id}`);
    link.addEventListener("click", (event) => {
      event.preventDefault();
      if (isItem) light(id);
      else open(id);
    });
    return link;
  }

  function suggest(texts) {
    const group = $("suggestions");
    group.replaceChildren();
    for (const text of texts) {
      const button = make("button", "", text);
      button.type = "button";
      button.addEventListener("click", () => ask(text));
      group.append(button);
    }
  }

  function show(turn, event) {
    turn.querySelectorAll(".thinking").forEach((node) => node.remove());
    if (event.type === "sentence") {
      if (event.by === "model" && !turn.querySelector(".by")) turn.append(make("p", "by", "In the model's words, checked against the evidence:"));
      const line = make("p", `sentence ${event.by === "model" ? "model" : "code"}${event.unknown ? " unknown" : ""}`);
      putCode(line, event.text);
      for (const id of event.cites) line.append(cite(id));
      turn.append(line);
    } else if (event.type === "thinking") {
      turn.append(make("p", "aside thinking", `${event.model} reads`));
    } else if (event.type === "not_shown") {
      const many = event.count === 1 ? "1 sentence of the model was" : `${event.count} sentences of the model were`;
      turn.append(make("p", "aside not-shown", `${many} not shown: ${event.reasons.slice(0, 3).join("; ")}.`));
    } else if (event.type === "note") {
      turn.append(make("p", "aside", event.text));
    } else if (event.type === "done") {
      const cost = event.model === "none" ? "" : `${event.model}, ${event.tokens.toLocaleString("en")} tokens, ${event.seconds.toFixed(1)} s`;
      if (cost) turn.append(make("p", "aside cost", cost));
      suggest(event.suggestions);
    }
  }

  async function read(body, each) {
    const reader = body.getReader();
    const decoder = new TextDecoder();
    let held = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      held += decoder.decode(value, { stream: true });
      let end;
      while ((end = held.indexOf("\n")) >= 0) {
        each(JSON.parse(held.slice(0, end)));
        held = held.slice(end + 1);
      }
    }
  }

  function follow() {
    const talk = $("talk");
    talk.scrollTop = talk.scrollHeight;
    if (window.innerWidth <= 700 && talk.lastElementChild) talk.lastElementChild.scrollIntoView({ block: "start" });
  }

  function stop() {
    if (page.asking) page.asking.abort();
  }

  async function ask(question) {
    question = question.trim();
    if (!question || page.asking) return;
    const turn = make("div", "turn");
    turn.append(make("p", "asked", question));
    $("talk").append(turn);
    if (page.talks.has(page.current)) page.talks.get(page.current).push(turn);
    follow();
    const asking = new AbortController();
    page.asking = asking;
    $("send").hidden = true;
    $("stop").hidden = false;
    try {
      const answer = await fetch("/api/ask", {
        method: "POST",
        credentials: "same-origin",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ conversation: page.talk, incident: page.current, question }),
        signal: asking.signal,
      });
      if (!answer.ok) throw new Error(`Not answered (${answer.status}): ${(await answer.text()).slice(0, 200)}`);
      await read(answer.body, (event) => { show(turn, event); if (!asking.signal.aborted) follow(); });
    } catch (error) {
      show(turn, { type: "note", text: asking.signal.aborted ? "Stopped." : error.message });
    } finally {
      turn.querySelectorAll(".thinking").forEach((node) => node.remove());
      page.asking = null;
      $("send").hidden = false;
      $("stop").hidden = true;
    }
  }

  async function refresh() {
    try {
      page.state = await load("/api/state");
      const { incidents, model, missing } = page.state;
      const count = incidents.length === 1 ? "1 incident" : `${incidents.length} incidents`;
      status(`${count}. ${model ? `Model: ${model}` : missing || "No model: answers come from the evidence alone"}`);
      showList();
    } catch (error) {
      status(error instanceof TypeError ? "logllm chat has ended: start it again." : error.message);
    }
  }

  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    const field = $("question");
    ask(field.value);
    field.value = "";
  });
  $("question").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      $("ask").requestSubmit();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && page.asking) stop();
    else if (event.key === "/" && !/^(TEXTAREA|INPUT)$/.test(document.activeElement.tagName)) {
      event.preventDefault();
      $("question").focus();
    }
  });
  $("stop").addEventListener("click", stop);

  // The key has done its work: it need not stay in the address, the history or a screenshot.
  if (location.search) history.replaceState(null, "", "/");
  refresh().then(() => {
    if (!page.state) return;
    const first = page.state.incident || (page.state.incidents[0] || {}).id;
    if (first) open(first, true);
    else suggest(["What can I ask?"]);
  });
  setInterval(() => { if (!document.hidden && !page.asking) refresh(); }, REFRESH_MS);
})();
