// The yard's page: follows the coordinator's events, draws the last step, asks for simulations and runs.
"use strict";

const $ = (id) => document.getElementById(id);
const seen = { cluster: null, runs: [], news: [], step: null, totals: { run: -1, bytes: new Map(), steps: 0 } };
let phase = "dispatch";
let picked = [];

/* Who we are: the token is in the address after #, which no server is sent, and then in this tab. */
function takeToken() {
  const found = /^#token=([\x21-\x7e]+)$/.exec(location.hash);
  if (found) {
    sessionStorage.setItem("token", found[1]);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("token");
}
let token = takeToken();
window.addEventListener("hashchange", () => { token = takeToken(); reconnect(); });

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.authorization = `Bearer ${token}`;
  const response = await fetch(path, { ...options, headers, cache: "no-store" });
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  const problem = new Error(told.problem || `the coordinator answered ${response.status}`);
  problem.status = response.status;
  if (response.status === 401) unlock(problem.message);
  throw problem;
}

function unlock(message) {
  $("unlock").hidden = false;
  if (message) $("line").textContent = message;
}
$("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  sessionStorage.setItem("token", token);
  $("token").value = "";
  $("unlock").hidden = true;
  reconnect();
});

/* Events, over fetch: an EventSource shows no token. */
let following = null;
function reconnect() { if (following) following.abort(); }
async function follow() {
  for (let wait = 250; ; wait = Math.min(wait * 2, 4000)) {
    following = new AbortController();
    try {
      const response = await ask("/v1/events", { signal: following.signal });
      $("line").textContent = "Live.";
      wait = 250;
      await read(response.body.getReader());
      throw new Error("the coordinator is gone");
    } catch (problem) {
      if (problem.name !== "AbortError") $("line").textContent = `${problem.message}; looking for it again.`;
      document.body.dataset.live = "no";
    }
    await new Promise((done) => setTimeout(done, wait));
  }
}
async function read(reader) {
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += decoder.decode(value, { stream: true });
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const event = { name: "", data: "" };
      for (const line of text.slice(0, end).split("\n")) {
        if (line.startsWith("event: ")) event.name = line.slice(7);
        else if (line.startsWith("data: ")) event.data += line.slice(6);
      }
      text = text.slice(end + 2);
      if (event.data) take(event.name, JSON.parse(event.data));
    }
  }
}
let due = false;
function take(name, data) {
  document.body.dataset.live = "yes";
  if (name === "step") {
    const old = seen.step;
    if (old && old.run === data.run && old.step === data.step && old.replays === data.replays) return;
    addUp(data);
  }
  seen[name] = data;
  if (!due) {
    due = true;
    requestAnimationFrame(() => { due = false; draw(); });
  }
}
/* A pair of ranks as one number: texts as keys cost a frame where there are thousands of pairs. */
const SIDE = 65536;
function addUp(step) {
  if (seen.totals.run !== step.run) seen.totals = { run: step.run, bytes: new Map(), steps: 0 };
  seen.totals.steps += 1;
  for (const part of step.phases) {
    const sums = seen.totals.bytes.get(part.phase) || new Map();
    seen.totals.bytes.set(part.phase, sums);
    for (const [from, to, bytes] of part.sent_bytes) {
      const pair = from * SIDE + to;
      sums.set(pair, (sums.get(pair) || 0) + bytes);
    }
  }
}

/* Drawing. */
const size = (bytes) => {
  for (const [unit, of] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) if (bytes >= of) return `${(bytes / of).toPrecision(3)} ${unit}`;
  return `${bytes} B`;
};
const us = (value) => (value === null || value === undefined ? "" : value < 100 ? value.toPrecision(3) : value.toFixed(0));
function element(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
function racksOf(sizes) {
  const of = [];
  sizes.forEach((count, rack) => { for (let i = 0; i < count; i += 1) of.push(rack); });
  return of;
}
function draw() {
  drawState();
  drawRacks(1);
  drawMatrix();
  drawNow();
  drawRuns();
  drawNews();
}
function drawState() {
  if (!seen.cluster) return;
  const { nodes, cores, spare } = seen.cluster;
  const silent = nodes.filter((node) => node.silent);
  const running = seen.runs.filter((run) => run.state === "running").length;
  const waiting = seen.runs.filter((run) => run.state === "waiting").length;
  let text = `${nodes.length} nodes on ${cores} cores`;
  text += silent.length ? `, not heard for a while: ${silent.map((node) => node.name).join(", ")}` : ", all heard";
  if (spare) text += ", with a spare";
  text += `. ${running} under way, ${waiting} waiting.`;
  if ($("state").textContent !== text) $("state").textContent = text;
}
function sentBy(part, ranks) {
  const sent = new Array(ranks).fill(0);
  if (part) for (const [from, , bytes] of part.sent_bytes) sent[from] += bytes;
  return sent;
}
/* `share`: how much of the step's bytes are shown, for the replay. */
function drawRacks(share) {
  const step = seen.step;
  const there = seen.cluster ? seen.cluster.nodes : [];
  const names = step ? step.nodes : there.map((node) => node.name);
  const sizes = step ? step.rack_sizes : rackSizesOf(names);
  const rackOf = racksOf(sizes);
  const part = step && (step.phases.find((one) => one.phase === phase) || step.phases[0]);
  const sent = sentBy(part, names.length);
  const most = Math.max(1, ...sent);
  const crossing = new Array(sizes.length).fill(0);
  const inside = new Array(sizes.length).fill(0);
  if (part) for (const [from, to, bytes] of part.sent_bytes) {
    if (rackOf[from] !== rackOf[to]) crossing[rackOf[from]] += bytes; else if (from !== to) inside[rackOf[from]] += bytes;
  }
  const fullest = Math.max(1, ...crossing, ...inside);
  const shape = JSON.stringify([sizes, names]);
  const box = $("racks");
  if (box.dataset.shape !== shape) {
    box.dataset.shape = shape;
    box.replaceChildren();
    let at = 0;
    sizes.forEach((count, rack) => {
      const one = element("div", null, { class: "rack", role: "group", "aria-label": `rack ${rack}` });
      one.append(element("h3", `Rack ${rack}`));
      const ranks = element("div", null, { class: "ranks" });
      for (let i = 0; i < count; i += 1, at += 1) {
        const rank = element("div", null, { class: "rank", "data-rank": at, title: names[at] || "" });
        rank.append(element("i"), element("b", at));
        ranks.append(rank);
      }
      one.append(ranks);
      for (const way of ["up", "out"]) {
        const text = element("p", "", { class: "uplink", "data-way": way, "data-rack": rack });
        const bar = element("div", null, { class: way === "up" ? "bar up" : "bar" });
        bar.append(element("i"));
        one.append(text, bar);
      }
      box.append(one);
    });
  }
  const gone = new Set(there.length ? names.filter((name) => !there.some((node) => node.name === name)) : []);
  const silent = new Set(there.filter((node) => node.silent).map((node) => node.name));
  for (const rank of box.querySelectorAll(".rank")) {
    const at = Number(rank.dataset.rank);
    rank.classList.toggle("gone", gone.has(names[at]));
    rank.classList.toggle("silent", silent.has(names[at]));
    rank.firstChild.style.height = `${(100 * share * sent[at]) / most}%`;
    const state = gone.has(names[at]) ? ", lost" : silent.has(names[at]) ? ", not heard" : "";
    rank.setAttribute("title", `rank ${at}: ${names[at] || "no node"}${state}${part ? `, sent ${size(sent[at])}` : ""}`);
  }
  for (const text of box.querySelectorAll(".uplink")) {
    const rack = Number(text.dataset.rack);
    const bytes = text.dataset.way === "up" ? inside[rack] : crossing[rack];
    const where = text.dataset.way === "up" ? "inside" : "to other racks";
    text.textContent = part ? `${size(Math.round(bytes * share))} ${where}` : where;
    text.nextSibling.firstChild.style.width = `${(100 * share * bytes) / fullest}%`;
  }
  if (step) {
    const replays = step.replays ? `, begun anew ${step.replays} times` : "";
    $("racks-caption").textContent = `Run ${step.run}, step ${step.step}${replays}, ${part ? part.phase : ""}, measured: boxes are ranks, filled by the bytes that each sent; bars by what left each rack's ranks inside and between racks.`;
    choosePhase(step);
  }
}
function rackSizesOf(names) {
  const sizes = new Map();
  for (const name of names) {
    const rack = (/^(.*?)-?\d+$/.exec(name) || [null, ""])[1];
    sizes.set(rack, (sizes.get(rack) || 0) + 1);
  }
  return [...sizes.values()];
}
function choosePhase(step) {
  const moving = step.phases.filter((part) => part.sent_bytes.length).map((part) => part.phase);
  const select = $("phase");
  const shown = [...select.options].map((option) => option.value);
  if (shown.join() !== moving.join()) {
    select.replaceChildren(...moving.map((name) => element("option", name, { value: name })));
    if (!moving.includes(phase)) phase = moving[0] || "dispatch";
    select.value = phase;
  }
  $("replay-tools").hidden = moving.length === 0;
}
$("phase").addEventListener("change", () => { phase = $("phase").value; draw(); });
$("replay").addEventListener("click", () => replay());
let replaying = 0;
function replay() {
  const started = performance.now();
  const own = (replaying += 1);
  const slow = matchMedia("(prefers-reduced-motion: reduce)").matches ? 1 : 4000;
  const tick = (now) => {
    if (own !== replaying) return;
    const share = Math.min(1, Math.max(0, now - started) / slow);
    drawRacks(share);
    if (share < 1) requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}
function drawMatrix() {
  const step = seen.step;
  $("matrix-part").hidden = !step;
  if (!step) return;
  const ranks = step.nodes.length;
  const sums = seen.totals.bytes.get(phase) || new Map();
  const canvas = $("matrix");
  const cell = Math.max(2, Math.floor(576 / ranks));
  canvas.width = canvas.height = cell * ranks;
  const paint = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  paint.fillStyle = style.getPropertyValue("--ground");
  paint.fillRect(0, 0, canvas.width, canvas.height);
  let most = 1;
  for (const bytes of sums.values()) most = Math.max(most, bytes);
  const rackOf = racksOf(step.rack_sizes);
  const inside = style.getPropertyValue("--a");
  const between = style.getPropertyValue("--b");
  const pairs = [];
  for (const [pair, bytes] of sums) {
    const [from, to] = [Math.floor(pair / SIDE), pair % SIDE];
    const same = rackOf[from] === rackOf[to];
    paint.fillStyle = same ? inside : between;
    paint.globalAlpha = 0.08 + (0.92 * bytes) / most;
    paint.fillRect(to * cell, from * cell, cell - (cell > 4 ? 1 : 0), cell - (cell > 4 ? 1 : 0));
    pairs.push([bytes, from, to, same]);
  }
  paint.globalAlpha = 1;
  borders(paint, step.rack_sizes, cell, canvas.width);
  const all = pairs.reduce((sum, [bytes]) => sum + bytes, 0);
  const crossed = pairs.filter(([, , , same]) => !same).reduce((sum, [bytes]) => sum + bytes, 0);
  const percent = all ? ((100 * crossed) / all).toFixed(1) : "0";
  $("matrix-caption").textContent = `Row: who sends; column: who receives; ${phase} of ${seen.totals.steps} steps of run ${step.run}, measured. Blue inside racks, orange between them, full colour is ${size(most)}. ${size(all)} in all, ${percent}% between racks.`;
  pairs.sort((a, b) => b[0] - a[0] || a[1] - b[1] || a[2] - b[2]);
  const body = $("pairs").tBodies[0];
  body.replaceChildren(...pairs.slice(0, 5).map(([bytes, from, to, same]) => row([[`${from} (${step.nodes[from]})`, "text"], [`${to} (${step.nodes[to]})`, "text"], [size(bytes)], [same ? "scale-up" : "scale-out"]])));
}
/* Lines between racks. */
function borders(paint, sizes, cell, side) {
  paint.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--ink");
  paint.lineWidth = 1.5;
  let edge = 0;
  for (const count of sizes.slice(0, -1)) {
    edge += count * cell;
    paint.beginPath();
    paint.moveTo(edge, 0); paint.lineTo(edge, side);
    paint.moveTo(0, edge); paint.lineTo(side, edge);
    paint.stroke();
  }
}
function row(cells, tag = "td") {
  const made = document.createElement("tr");
  for (const [text, kind] of cells) made.append(element(tag, text, kind ? { class: kind } : {}));
  return made;
}
function drawNow() {
  const run = seen.runs.find((one) => one.state === "running");
  $("now").hidden = !run;
  if (!run) return;
  $("now-what").textContent = run.title;
  $("now-progress").max = run.rows_asked || 1;
  if (run.rows_asked) $("now-progress").value = run.rows_done || 0; else $("now-progress").removeAttribute("value");
  const left = run.left_s === null ? "" : `, about ${run.left_s} s left`;
  $("now-left").textContent = `${run.rows_done ?? 0} of ${run.rows_asked ?? "?"} rows${left}. Now: ${run.doing || ""}`;
  rowsOf(run);
}
/* Rows of the table by run. A row stays while its run stays in one state, and only its count is written anew:
   whoever is about to press a button finds it where it was. */
const drawn = new Map();
function drawRuns() {
  $("runs-empty").hidden = seen.runs.length > 0;
  const body = $("runs").tBodies[0];
  for (const id of [...drawn.keys()]) if (!seen.runs.some((run) => run.id === id)) drawn.delete(id);
  const rows = seen.runs.map((run) => {
    const shape = JSON.stringify([run.state, run.title, run.client, run.problem]);
    let shown = drawn.get(run.id);
    if (!shown || shown.shape !== shape) {
      const old = shown;
      shown = { shape, row: runRow(run, body) };
      drawn.set(run.id, shown);
      if (old && old.row.contains(document.activeElement)) {
        const again = shown.row.querySelector(`[data-key="${document.activeElement.dataset.key}"]`);
        old.row.replaceWith(shown.row);
        if (again) again.focus();
      }
    }
    const count = run.rows_asked ? `${run.rows_done} of ${run.rows_asked}` : run.ahead ? `${run.ahead} before` : "";
    if (shown.row.cells[3].textContent !== count) shown.row.cells[3].textContent = count;
    return shown.row;
  });
  if (rows.length !== body.rows.length || rows.some((one, at) => body.rows[at] !== one)) {
    const focused = document.activeElement;
    for (const gone of [...body.rows]) if (!rows.includes(gone)) gone.remove();
    rows.forEach((one, at) => { if (body.rows[at] !== one) body.insertBefore(one, body.rows[at] || null); });
    if (focused && body.contains(focused)) focused.focus();
  }
  picked = picked.filter((id) => drawn.has(id));
  $("compare").disabled = picked.length !== 2;
}
function runRow(run, body) {
  const made = element("tr", null, { "data-id": run.id });
  const what = element("td", null, { class: "text" });
  const tick = element("input", null, { type: "checkbox", "aria-label": `compare: ${run.title}`, "data-key": "tick" });
  tick.checked = picked.includes(run.id);
  tick.addEventListener("change", () => {
    picked = picked.filter((id) => id !== run.id);
    if (tick.checked) picked.push(run.id);
    picked = picked.slice(-2);
    for (const other of body.querySelectorAll("input")) other.checked = picked.includes(other.closest("tr").dataset.id);
    $("compare").disabled = picked.length !== 2;
  });
  what.append(tick, ` ${run.title}`);
  const result = element("td", null, { class: "text" });
  if (run.state === "waiting" || run.state === "running") {
    const cancel = element("button", "Cancel", { type: "button", "aria-label": `cancel: ${run.title}`, "data-key": "cancel" });
    cancel.addEventListener("click", () => act(() => ask(`/v1/runs/${run.id}`, { method: "DELETE" })));
    result.append(cancel);
  } else if (run.problem) {
    result.append(element("span", run.problem, { class: "bad" }));
  } else {
    const show = element("button", "Rows", { type: "button", "aria-label": `rows: ${run.title}`, "data-key": "rows" });
    show.addEventListener("click", () => choose([run.id]));
    const page = element("a", "Report", { href: `/v1/runs/${run.id}/page`, "aria-label": `report: ${run.title}`, "data-key": "page" });
    page.addEventListener("click", (event) => openReport(event, run.id));
    const again = element("button", "Replay", { type: "button", "aria-label": `replay: ${run.title}`, "data-key": "replay" });
    again.addEventListener("click", () => openFilm(run.id));
    result.append(show, " ", again, " ", page);
  }
  made.append(what, element("td", run.state, { class: "text" }), element("td", run.client, { class: "text" }), element("td"), result);
  return made;
}
/* What somebody chose to see stays until something else is chosen. */
let chosen = false;
function choose(ids) {
  chosen = true;
  showRows(ids);
}
$("compare").addEventListener("click", () => choose(picked));
/* A link shows no token: with it a ticket is asked for that opens this one page once. */
async function openReport(event, id) {
  if (!token) return;
  event.preventDefault();
  const tab = window.open("", "_blank");
  await act(async () => {
    const { page } = await (await ask(`/v1/runs/${id}/ticket`, { method: "POST" })).json();
    if (!tab) { location.href = page; return; }
    tab.opener = null;
    tab.location.href = page;
  });
}
async function act(what) {
  try { await what(); } catch (problem) { $("line").textContent = problem.message; }
}
let rowsShown = "";
async function rowsOf(run) {
  const shown = `${run.id} ${run.rows_done}`;
  if (chosen || shown === rowsShown || !run.rows_done) return;
  rowsShown = shown;
  await showRows([run.id]);
}
async function showRows(ids) {
  await act(async () => {
    const reports = await Promise.all(ids.map(async (id) => (await ask(`/v1/runs/${id}/report?detail=false`)).json()));
    const titles = ids.map((id) => (seen.runs.find((run) => run.id === id) || { title: id }).title);
    $("rows").replaceChildren(reports.length === 2 ? sideBySide(reports, titles) : tableOf(reports[0], titles[0]));
  });
}
/* One line a configuration and latency, the backends beside each other. */
function linesOf(report) {
  const lines = new Map();
  for (const record of report.rows) {
    const key = `${record.configuration} ${record.latency}`;
    const line = lines.get(key) || { title: record.title, latency: record.latency, of: {} };
    line.of[record.backend] = record;
    lines.set(key, line);
  }
  return [...lines.values()];
}
const best = (line) => line.of.quic || line.of.sim || line.of.analytic;
function tableOf(report, title) {
  const box = element("div", null, { class: "scroll" });
  const made = element("table");
  made.append(element("caption", `${title}: all-to-all in emulated us${report.complete === false ? "; not complete yet" : ""}`));
  const head = element("thead");
  head.append(row([["configuration", "text"], ["latency", "text"], ["measured"], ["simulated"], ["closed form"], ["slowdown"], ["verified", "text"]], "th"));
  const body = element("tbody");
  for (const line of linesOf(report)) {
    const { quic, sim, analytic } = line.of;
    const shown = best(line);
    const state = !shown.verified ? "no" : shown.valid ? "yes" : "disturbed";
    body.append(row([[line.title, "text"], [line.latency, "text"], [us(quic && quic.a2a_us)], [us(sim && sim.a2a_us)], [us(analytic && analytic.a2a_us)], [shown.a2a_slowdown === null ? "" : shown.a2a_slowdown.toFixed(2)], [state, "text"]]));
  }
  made.append(head, body);
  box.append(made);
  return box;
}
function sideBySide(reports, titles) {
  const box = element("div", null, { class: "scroll" });
  const made = element("table");
  made.append(element("caption", `All-to-all in emulated us. A: ${titles[0]}. B: ${titles[1]}.`));
  const head = element("thead");
  head.append(row([["configuration", "text"], ["latency", "text"], ["A"], ["B"], ["B over A"]], "th"));
  const body = element("tbody");
  const others = new Map(linesOf(reports[1]).map((line) => [`${line.title} ${line.latency}`, line]));
  for (const line of linesOf(reports[0])) {
    const other = others.get(`${line.title} ${line.latency}`);
    const [a, b] = [best(line).a2a_us, other && best(other).a2a_us];
    body.append(row([[line.title, "text"], [line.latency, "text"], [us(a)], [us(b)], [b && a ? (b / a).toFixed(2) : ""]]));
  }
  made.append(head, body);
  box.append(made);
  return box;
}
/* Replay of a finished run: a row of its report that kept its pairs, dispatch, experts, combine, on a clock that is slowed down. A pair fills
   evenly until its last row was there; where no frames were kept, until its receiver was through. */
const WATCH_MS = 16000;
const film = { rows: [], title: "", parts: [], whole: 0, side: 0, rackOf: [], sizes: [], playing: 0 };
async function openFilm(id) {
  await act(async () => {
    const report = await (await ask(`/v1/runs/${id}/report`)).json();
    film.rows = report.rows.filter((record) => record.detail && record.detail.dispatch_bytes.length > 1);
    if (!film.rows.length) throw new Error("This run kept no bytes of pairs: there is nothing to replay.");
    film.title = (seen.runs.find((run) => run.id === id) || { title: id }).title;
    const name = (record) => `${record.title}, ${record.latency} latency, ${record.backend === "quic" ? "measured" : "simulated"}`;
    $("film-row").replaceChildren(...film.rows.map((record, at) => element("option", name(record), { value: at })));
    const best = film.rows.findIndex((record) => record.backend === "quic" && record.racks > 1);
    $("film-row").value = Math.max(0, best);
    $("film").hidden = false;
    load();
    $("film").scrollIntoView({ block: "start" });
    $("film-play").focus();
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) play();
  });
}
function load() {
  const record = film.rows[Number($("film-row").value)];
  const { detail } = record;
  const byRank = detail.matrix_by === "rank";
  film.side = detail.dispatch_bytes.length;
  film.sizes = detail.rack_sizes;
  film.rackOf = byRank ? racksOf(detail.rack_sizes) : detail.rack_sizes.map((_, rack) => rack);
  film.borders = byRank ? detail.rack_sizes : detail.rack_sizes.map(() => 1);
  const part = (name, us, bytes, waits, ends) => {
    const pairs = [];
    bytes.forEach((row, from) => row.forEach((sent, to) => {
      if (sent) pairs.push([from, to, sent, Math.min(us, (waits && waits[from][to]) || (byRank && ends[to]) || us)]);
    }));
    return { name, us, pairs, most: pairs.reduce((most, pair) => Math.max(most, pair[2]), 1), all: pairs.reduce((sum, pair) => sum + pair[2], 0) };
  };
  film.parts = [
    part("dispatch", record.dispatch_us, detail.dispatch_bytes, detail.dispatch_wait_us, detail.rank_us.dispatch),
    part("experts", record.compute_us, [], null, []),
    part("combine", record.combine_us, detail.combine_bytes, detail.combine_wait_us, detail.rank_us.combine),
  ];
  film.whole = film.parts.reduce((sum, one) => sum + one.us, 0);
  film.how = record.backend === "quic" ? "measured" : "simulated";
  film.exact = Boolean(detail.dispatch_wait_us);
  $("film-what").textContent = `${film.title}. ${record.title}, ${film.how}: ${us(film.whole)} us of the emulated hardware take ${WATCH_MS / 1000} s here.`;
  $("film-racks").replaceChildren(...["inside racks", "between racks"].map((name) => {
    const bar = element("div", null, { class: name === "inside racks" ? "bar up" : "bar" });
    bar.append(element("i"));
    const one = element("div");
    one.append(element("span", name, { class: "name" }), bar, element("span", "", { class: "value" }));
    return one;
  }));
  seek(0);
}
/* Shows what had arrived so many emulated microseconds after the step's start. */
function seek(at) {
  let [begun, shown] = [0, film.parts[0]];
  for (const part of film.parts) {
    shown = part;
    if (at <= begun + part.us || part === film.parts[2]) break;
    begun += part.us;
  }
  const time = Math.min(shown.us, at - begun);
  const canvas = $("film-matrix");
  const cell = Math.max(2, Math.floor(576 / film.side));
  canvas.width = canvas.height = cell * film.side;
  const paint = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name);
  const [inside, between] = [colour("--a"), colour("--b")];
  paint.fillStyle = colour("--ground");
  paint.fillRect(0, 0, canvas.width, canvas.height);
  const [sums, all] = [[0, 0], [0, 0]];
  for (const [from, to, bytes, until] of shown.pairs) {
    const share = Math.min(1, time / until);
    const crosses = film.rackOf[from] === film.rackOf[to] ? 0 : 1;
    sums[crosses] += bytes * share;
    all[crosses] += bytes;
    if (!share) continue;
    paint.globalAlpha = (0.08 + 0.92 * (bytes / shown.most)) * share;
    paint.fillStyle = crosses ? between : inside;
    paint.fillRect(to * cell, from * cell, cell - (cell > 4 ? 1 : 0), cell - (cell > 4 ? 1 : 0));
  }
  paint.globalAlpha = 1;
  borders(paint, film.borders, cell, canvas.width);
  const bars = $("film-racks").children;
  [0, 1].forEach((kind) => {
    bars[kind].querySelector("i").style.width = `${all[kind] ? (100 * sums[kind]) / all[kind] : 0}%`;
    bars[kind].querySelector(".value").textContent = all[kind] ? `${size(Math.round(sums[kind]))} of ${size(all[kind])}` : "none";
  });
  $("film-now").textContent = `${shown.name}, ${us(time)} of ${us(shown.us)} us`;
  const slider = $("film-at");
  slider.value = film.whole ? Math.round((1000 * at) / film.whole) : 0;
  slider.setAttribute("aria-valuetext", $("film-now").textContent);
  const what = film.exact ? "until its last row was there, by the stamps of frames" : "until its receiver was through";
  const caption = `Row: who sends; column: who receives; ${film.how}. A pair fills evenly ${what}; blue inside racks, orange between them, full colour is ${size(shown.most)}.`;
  if ($("film-caption").textContent !== caption) $("film-caption").textContent = caption;
}
function play() {
  const own = (film.playing += 1);
  const from = Number($("film-at").value) >= 1000 ? 0 : (Number($("film-at").value) / 1000) * film.whole;
  const started = performance.now();
  $("film-play").textContent = "Pause";
  const tick = (now) => {
    if (own !== film.playing) return;
    const at = Math.min(film.whole, from + (Math.max(0, now - started) / WATCH_MS) * film.whole);
    seek(at);
    if (at < film.whole) requestAnimationFrame(tick); else pause();
  };
  requestAnimationFrame(tick);
}
function pause() {
  film.playing += 1;
  $("film-play").textContent = "Play";
}
$("film-play").addEventListener("click", () => ($("film-play").textContent === "Play" ? play() : pause()));
$("film-row").addEventListener("change", () => { pause(); load(); });
$("film-at").addEventListener("input", () => { pause(); seek((Number($("film-at").value) / 1000) * film.whole); });
let newsDrawn = -1;
function drawNews() {
  const last = seen.news.length ? seen.news[seen.news.length - 1].at_unix_ms : 0;
  if (last === newsDrawn) return;
  newsDrawn = last;
  $("news-empty").hidden = seen.news.length > 0;
  const items = [...seen.news].reverse().slice(0, 30).map((one) => element("li", `${new Date(one.at_unix_ms).toLocaleTimeString()}: ${one.text}`));
  $("news").replaceChildren(...items);
}

/* The form. */
const wordsOf = () => {
  const form = new FormData($("ask"));
  const words = {};
  for (const [name, value] of form) words[name] = value;
  words.tokens = String(2 ** Number(words.tokens));
  if (!touched.has("throttle")) delete words.throttle;
  return words;
};
const touched = new Set();
function say() {
  $("racks-n-out").textContent = $("racks-n").value;
  $("per-rack-out").textContent = $("per-rack").value;
  $("tokens-out").textContent = 2 ** Number($("tokens").value);
  $("throttle-out").textContent = touched.has("throttle") ? $("throttle").value : "the hardware's";
}
let timer = 0;
$("ask").addEventListener("input", (event) => {
  touched.add(event.target.name);
  say();
  clearTimeout(timer);
  timer = setTimeout(simulate, 250);
});
let asking = false;
let again = false;
async function simulate() {
  if (asking) { again = true; return; }
  asking = true;
  const body = JSON.stringify({ ...wordsOf(), latency: ["zero"] });
  try {
    const report = await (await ask("/v1/experiments", { method: "POST", body })).json();
    showAnswer(report);
  } catch (problem) {
    if (problem.status === 429) again = true;
    else $("answer").replaceChildren(element("p", problem.message, { class: "bad" }));
  }
  asking = false;
  if (again) { again = false; setTimeout(simulate, 300); }
}
function showAnswer(report) {
  const box = element("div", null, { class: "measure" });
  const lines = linesOf(report);
  const most = Math.max(...lines.map((line) => best(line).a2a_us));
  for (const line of lines) {
    const shown = best(line);
    const bar = element("div", null, { class: "bar" });
    const fill = element("i");
    fill.style.width = `${(100 * shown.a2a_us) / most}%`;
    bar.append(fill);
    const one = element("div");
    one.append(element("span", line.title, { class: "name" }), bar, element("span", `${us(shown.a2a_us)} us`, { class: "value" }));
    box.append(one);
  }
  const caption = element("p", "All-to-all, emulated microseconds, simulated without latency.", { class: "soft" });
  $("answer").replaceChildren(caption, box);
}
$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  act(async () => {
    const made = await (await ask("/v1/runs", { method: "POST", body: JSON.stringify(wordsOf()) })).json();
    $("line").textContent = `Asked for: ${made.title}.`;
  });
});
async function begin() {
  const known = await (await ask("/v1/experiments")).json();
  for (const [id, names, first] of [["model", known.models, "deepseek-v3"], ["hardware", known.hardware, "talk-gb200"], ["placement", known.placements, "linear"]]) {
    $(id).replaceChildren(...names.map((name) => element("option", name, { value: name })));
    $(id).value = first;
  }
  const { nodes } = await (await ask("/v1/cluster")).json();
  const sizes = rackSizesOf(nodes.map((node) => node.name));
  if (sizes.length && !touched.size) {
    $("racks-n").value = sizes.length;
    $("per-rack").value = Math.min(...sizes);
  }
  say();
}
// Canvases have the colours that they were painted with.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  draw();
  if (film.rows.length) seek((Number($("film-at").value) / 1000) * film.whole);
});
if (!token) unlock();
say();
follow();
act(begin);
