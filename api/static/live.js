// The live view. Fed by /api/v1/stream; every event replaces what was shown before it.

const PLACES = ["matched", "suggested", "pending", "exception", "duplicate", "superseded"];
const RATE_SECONDS = 5;
const SPARK_POINTS = 60;
const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 8000;

const byId = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");
const percent = new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: 2, maximumFractionDigits: 2 });
const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const words = (name) => name.replaceAll("_", " ");

const summaries = new Map(); // reconciliation id → the last summary
const cards = new Map(); // reconciliation id → its card's parts
const samples = new Map(); // reconciliation id → [[ms, accepted], …] of the last seconds
const history = [];
let source = null;
let retryMs = RETRY_FIRST_MS;
let retryTimer = 0;

function setState(state, text) {
  const shown = byId("state");
  if (shown.dataset.state === state && shown.textContent === text) return;
  shown.dataset.state = state;
  shown.textContent = text;
}

function sayLag(seconds) {
  if (seconds < 0.05) return "none";
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h`;
}

// Floors, so that 100 % is shown only when every transaction is matched.
function sayShare(matched, accepted) {
  if (!accepted) return "–";
  return percent.format(Math.floor((matched / accepted) * 10_000) / 10_000);
}

function rateOf(id, now) {
  const kept = samples.get(id) ?? [];
  const first = kept.find(([at]) => now - at <= RATE_SECONDS * 1000) ?? kept[0];
  const last = kept.at(-1);
  if (!first || !last || now - first[0] < 250) return 0;
  return ((last[1] - first[1]) * 1000) / (now - first[0]);
}

function sample(id, accepted, now) {
  const kept = samples.get(id) ?? [];
  // A step from the view's first figure is not a rate: it is what was there before.
  kept.push([now, accepted]);
  while (kept.length > 2 && now - kept[1][0] > RATE_SECONDS * 1000) kept.shift();
  samples.set(id, kept);
}

function makeCard(id) {
  const node = byId("card-template").content.firstElementChild.cloneNode(true);
  node.dataset.reconciliation = id;
  const part = (selector) => node.querySelector(selector);
  const card = {
    node, name: part(".name"), id: part(".id"), rate: part(".rate"), match: part(".match"),
    open: part(".open"), lag: part(".lag"), share: part(".share"), legend: part(".legend"),
    body: part("tbody"), none: part(".none"), scroll: part(".scroll"), seen: null, places: {},
  };
  card.name.id = `name-${id}`;
  node.setAttribute("aria-labelledby", card.name.id);
  card.scroll.setAttribute("aria-label", `Newest exceptions of ${id}`);
  for (const place of PLACES) {
    const bar = document.createElement("i");
    bar.className = place;
    const entry = document.createElement("li");
    entry.className = place;
    card.share.append(bar);
    card.legend.append(entry);
    card.places[place] = { bar, entry };
  }
  const after = [...cards.keys()].filter((other) => other > id).sort()[0];
  byId("cards").insertBefore(node, after ? cards.get(after).node : null);
  cards.set(id, card);
  return card;
}

function showSummary(summary) {
  const id = summary.reconciliation_id;
  const now = performance.now();
  summaries.set(id, summary);
  sample(id, summary.transactions.accepted, now);
  const card = cards.get(id) ?? makeCard(id);
  const counts = summary.transactions;
  card.name.textContent = summary.name ?? id;
  card.id.textContent = summary.status === "active" ? id : `${id} · ${words(summary.status)}`;
  card.match.textContent = sayShare(counts.matched, counts.accepted);
  card.open.textContent = whole.format(summary.exceptions_open);
  card.lag.textContent = sayLag(summary.lag_seconds);
  for (const place of PLACES) {
    const { bar, entry } = card.places[place];
    bar.style.flexGrow = counts[place];
    bar.classList.toggle("some", counts[place] > 0);
    entry.textContent = `${words(place)} ${whole.format(counts[place])}`;
    entry.hidden = counts[place] === 0 && place !== "matched";
  }
  card.share.setAttribute("aria-label",
    PLACES.map((place) => `${words(place)} ${counts[place]}`).join(", "));
  showTotals();
}

function showTotals() {
  const all = [...summaries.values()];
  const sum = (of) => all.reduce((total, summary) => total + of(summary), 0);
  const accepted = sum((summary) => summary.transactions.accepted);
  const matched = sum((summary) => summary.transactions.matched);
  byId("total-accepted").textContent = `${whole.format(accepted)} so far`;
  byId("total-match").textContent = sayShare(matched, accepted);
  byId("total-matched").textContent = `${whole.format(matched)} transactions matched`;
  byId("total-open").textContent = whole.format(sum((summary) => summary.exceptions_open));
  byId("total-severity").textContent =
    `${whole.format(sum((summary) => summary.exceptions_resolved))} resolved`;
  byId("total-lag").textContent = sayLag(Math.max(0, ...all.map((summary) => summary.lag_seconds)));
  byId("empty").hidden = all.length > 0;
}

function cell(text, name) {
  const made = document.createElement("td");
  if (name) made.className = name;
  made.textContent = text;
  return made;
}

function exceptionRow(item, fresh) {
  const row = document.createElement("tr");
  row.dataset.exception = item.exception_id;
  if (fresh) row.className = "fresh";
  const severity = document.createElement("span");
  severity.className = `severity ${item.severity}`;
  severity.textContent = item.severity;
  const first = cell("");
  first.append(severity);
  const transaction = cell(item.transaction_id, "transaction");
  transaction.title = `${item.side} ${item.transaction_id}: ${item.reason}`;
  const opened = cell(clock.format(new Date(item.opened_at)));
  opened.title = item.opened_at;
  row.append(first, transaction, cell(words(item.category)),
    cell(`${item.amount} ${item.currency}`, "number"), opened);
  return row;
}

function showExceptions({ reconciliation_id: id, items }) {
  const card = cards.get(id);
  if (!card) return;
  const seen = new Set(items.map((item) => item.exception_id));
  const known = card.seen;
  card.body.replaceChildren(...items.map((item) =>
    exceptionRow(item, known !== null && !known.has(item.exception_id))));
  card.seen = seen;
  card.none.hidden = items.length > 0;
  card.scroll.hidden = items.length === 0;
}

function drawSpark() {
  const most = Math.max(1, ...history);
  const x = (index) => (index / (SPARK_POINTS - 1)) * 240;
  const points = history.map((value, index) =>
    `${x(index + SPARK_POINTS - history.length).toFixed(1)},${(45 - (value / most) * 40).toFixed(1)}`);
  const [area, line] = byId("total-spark").children;
  if (points.length < 2) return;
  line.setAttribute("d", `M${points.join("L")}`);
  area.setAttribute("d", `M${x(SPARK_POINTS - history.length).toFixed(1)},48L${points.join("L")}L240,48Z`);
}

function tick() {
  const now = performance.now();
  let total = 0;
  for (const [id, card] of cards) {
    const rate = rateOf(id, now);
    total += rate;
    card.rate.textContent = `${whole.format(Math.round(rate))}/s`;
  }
  byId("total-rate").textContent = whole.format(Math.round(total));
  history.push(total);
  if (history.length > SPARK_POINTS) history.shift();
  drawSpark();
}

function forget() {
  for (const card of cards.values()) card.node.remove();
  for (const kept of [summaries, cards, samples]) kept.clear();
  history.length = 0;
}

function disconnect() {
  clearTimeout(retryTimer);
  source?.close();
  source = null;
}

function connect() {
  disconnect();
  setState("waiting", "Connecting…");
  source = new EventSource("/api/v1/stream");
  source.addEventListener("open", () => {
    retryMs = RETRY_FIRST_MS;
    setState("live", "Live");
    byId("empty").hidden = summaries.size > 0;
  });
  source.addEventListener("summary", (event) => showSummary(JSON.parse(event.data)));
  source.addEventListener("exceptions", (event) => showExceptions(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    setState("waiting", "Connection lost, trying again…");
    if (source?.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    // An answer that was no stream: signed out, or the service is not up yet.
    disconnect();
    retryTimer = setTimeout(resume, retryMs);
    retryMs = Math.min(retryMs * 2, RETRY_MAX_MS);
  });
}

function showSignIn(message = "") {
  disconnect();
  forget();
  setState("idle", "Not connected");
  byId("live").hidden = true;
  byId("sign-out").hidden = true;
  byId("tenant").hidden = true;
  byId("sign-in").hidden = false;
  byId("sign-in-error").textContent = message;
  byId("key").focus();
}

function showLive(session) {
  byId("sign-in").hidden = true;
  byId("live").hidden = false;
  byId("sign-out").hidden = false;
  byId("tenant").hidden = false;
  byId("tenant").textContent = session.tenant_id;
  connect();
}

// Asks who is signed in before it listens, since an EventSource cannot tell 401 from an outage.
async function resume() {
  try {
    const answer = await fetch("/api/v1/session", { headers: { Accept: "application/json" } });
    if (answer.ok) return showLive(await answer.json());
    if (answer.status === 401) return showSignIn();
    throw new Error(`status ${answer.status}`);
  } catch {
    setState("waiting", "The service does not answer, trying again…");
    retryTimer = setTimeout(resume, retryMs);
    retryMs = Math.min(retryMs * 2, RETRY_MAX_MS);
  }
}

async function signIn(event) {
  event.preventDefault();
  const button = event.target.querySelector("button");
  const input = byId("key");
  button.disabled = true;
  byId("sign-in-error").textContent = "";
  try {
    const answer = await fetch("/api/v1/session", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ key: input.value }),
    });
    const body = await answer.json();
    if (answer.ok) {
      input.value = "";
      showLive(body);
    } else {
      byId("sign-in-error").textContent =
        answer.status === 401 ? "This key is not known or no longer in force." : body.message;
      input.focus();
    }
  } catch {
    byId("sign-in-error").textContent = "The service does not answer; try again shortly.";
  } finally {
    button.disabled = false;
  }
}

async function signOut() {
  try {
    await fetch("/api/v1/session", { method: "DELETE" });
    showSignIn();
  } catch {
    setState("waiting", "Could not sign out, the service does not answer");
  }
}

byId("sign-in-form").addEventListener("submit", signIn);
byId("sign-out").addEventListener("click", signOut);
setInterval(tick, 1000);
resume();
