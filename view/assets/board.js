// Sliders that compute claims anew, and the search. `formulas` stands before this; without this the page says all it says anyway.
const board = (() => {
  const data = (id) => JSON.parse(document.getElementById(id).textContent);
  const { claims } = data("record");
  const { command, order, reaches, rules } = data("moves");
  const reach = Object.fromEntries(reaches.map((of) => [of.name, of]));
  const moved = new Map();

  // Four significant digits, as `railyard board` prints them.
  const trimmed = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  const number = (value) => {
    const size = Math.abs(value);
    if (Number.isNaN(value)) return "none";
    if (size === 0 || !Number.isFinite(value)) return size === 0 ? "0" : value > 0 ? "inf" : "-inf";
    if (size < 1e-4 || size >= 1e7) {
      const [mantissa, exponent] = value.toExponential(3).split("e");
      return `${trimmed(mantissa)}e${Number(exponent)}`;
    }
    return trimmed(value.toFixed(Math.min(Math.max(3 - Math.floor(Math.log10(size)), 0), 8)));
  };
  // The same number in fewer characters, as fields and commands take it.
  const short = (value) => (value !== 0 && (value >= 1e6 || value < 1e-3) ? value.toExponential().replace("+", "") : String(value));
  const told = (value, unit) => (unit ? `${number(value)} ${unit}` : number(value));

  // A claim's values with these inputs: those of the crate where they depend on none.
  const evaluate = (claim, inputs) => {
    const made = formulas[claim.id]?.(inputs) ?? [];
    return claim.values.map(({ value }, at) => made[at] ?? value ?? NaN);
  };
  const judge = (claim, computed) => {
    const rule = rules[claim.id];
    if (rule.always) return rule.always;
    if (rule.at_least !== undefined) return computed >= rule.at_least ? "reproduces" : "contradicts";
    if (rule.at_most !== undefined) return computed <= rule.at_most ? "reproduces" : "contradicts";
    if (claim.stated === null) return "reproduces";
    const [low, high] = [claim.stated].flat().length === 2 ? claim.stated : [claim.stated, claim.stated];
    const within = (down, up) => computed >= low * down && computed <= high * up;
    if (within(1 - rule.near, 1 + rule.near)) return "reproduces";
    return within(1 / order, order) ? "order of magnitude" : "contradicts";
  };
  const inputsOf = (claim) =>
    Object.fromEntries(Object.entries(claim.inputs).map(([name, value]) => [name, moved.get(name) ?? value]));
  const classes = { reproduces: "good", contradicts: "bad", "wrong input": "bad" };

  const article = (claim) => document.getElementById(claim.id);
  const shown = new Map(claims.map((claim) => [claim.id, { claim, values: claim.values.map(({ value }) => value ?? NaN), verdict: claim.verdict }]));

  const show = (claim) => {
    const inputs = inputsOf(claim), values = evaluate(claim, inputs), verdict = judge(claim, values[0]), at = article(claim);
    shown.set(claim.id, { claim, values, verdict });
    values.forEach((value, index) => {
      const text = told(value, claim.values[index].unit);
      at.querySelectorAll(`[data-at="${index}"]`).forEach((output) => { output.textContent = text; });
    });
    const word = at.querySelector("[data-verdict]");
    word.textContent = verdict;
    word.className = `verdict ${classes[verdict] ?? "soft"}`;
    for (const [name, value] of Object.entries(inputs)) place(at, name, value);
  };

  // Counts in whole steps where these are few, all else in equal factors, or in equal steps where it can be 0.
  const steps = (of) => (of.whole && of.to - of.from <= 100 ? of.to - of.from : 200);
  const positionOf = (of, value) => {
    const part = of.from === 0 || steps(of) !== 200 ? (value - of.from) / (of.to - of.from) : Math.log(value / of.from) / Math.log(of.to / of.from);
    return Math.round(Math.min(Math.max(part, 0), 1) * steps(of));
  };
  const valueAt = (of, position) => {
    const part = position / steps(of);
    const value = of.from === 0 || steps(of) !== 200 ? of.from + (of.to - of.from) * part : of.from * (of.to / of.from) ** part;
    return of.whole ? Math.round(value) : Number(value.toPrecision(4));
  };
  const place = (at, name, value) => {
    const of = reach[name], unit = of.unit;
    const range = at.querySelector(`[data-move="${name}"]`), field = at.querySelector(`[data-type="${name}"]`);
    range.value = positionOf(of, value);
    range.setAttribute("aria-valuetext", told(value, unit));
    if (document.activeElement !== field) field.value = short(Number(value.toPrecision(6)));
    field.setCustomValidity("");
    at.querySelector(`[data-is="${name}"]`).textContent = told(value, unit);
    range.closest("li").classList.toggle("changed", moved.has(name));
  };

  // What the command would say of it; nothing where it takes it.
  const refused = (name, value) => {
    const of = reach[name];
    if (!Number.isFinite(value)) return "give a number";
    if (of.whole && !(Number.isInteger(value) && value >= 1 && value <= 65536)) return "give a whole number from 1 to 65536";
    if (value < 0 || (value === 0 && of.from !== 0)) return "give a number above 0";
    const of_ = (other, without) => (other === name ? value : moved.get(other) ?? without);
    if (of_("top_k", 1) > of_("experts", 256)) return "top_k can be at most as many as there are experts";
    return "";
  };

  const bar = document.getElementById("moved"), said = document.getElementById("said");
  let waiting = 0;
  const tell = () => {
    const names = [...moved.keys()];
    bar.hidden = names.length === 0;
    document.getElementById("same").textContent = `${command} ${names.map((name) => `--set ${name}=${short(moved.get(name))}`).join(" ")}`;
    const list = [...shown.values()].filter(({ claim, values }) => values.some((value, at) => !Object.is(value, claim.values[at].value ?? NaN)));
    const one = ({ claim, values, verdict }) => {
      const unit = claim.values[0].unit, was = told(claim.values[0].value ?? NaN, unit), is = told(values[0], unit);
      const link = document.createElement("a");
      link.href = `#${claim.id}`;
      link.textContent = claim.id;
      const turned = verdict === claim.verdict ? `${verdict} as before` : `${claim.verdict} \u2192 ${verdict}`;
      return [link, ` ${was === is ? is : `${was} \u2192 ${is}`}, ${turned}; `];
    };
    // Once the slider rests: nobody wants each step read out.
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      const more = list.length > 6 ? `and ${list.length - 6} more` : "";
      const plural = list.length === 1 ? "claim changes" : "claims change";
      said.replaceChildren(
        `${names.map((name) => `${name} = ${told(moved.get(name), reach[name].unit)}`).join(", ")}: ${list.length} ${plural}. `,
        ...list.slice(0, 6).flatMap(one), more,
      );
    }, 250);
  };
  const move = (name, value) => {
    const problem = refused(name, value);
    if (problem) return problem;
    moved.set(name, value);
    claims.filter((claim) => name in claim.inputs).forEach(show);
    tell();
    return "";
  };
  const back = () => {
    const names = [...moved.keys()];
    moved.clear();
    claims.filter((claim) => names.some((name) => name in claim.inputs)).forEach(show);
    tell();
  };

  // Numbers as people write them: 8x, 1,000, 128k, 263T, 50%, 1/32.
  const SCALES = { k: 1e3, m: 1e6, b: 1e9, t: 1e12, "%": 0.01 };
  const WORDS = { half: 0.5, halves: 0.5, third: 1 / 3, quarter: 0.25, quarters: 0.25, twice: 2, double: 2, doubling: 2 };
  const NUMBER = /(\d[\d,]*(?:\.\d+)?(?:e-?\d+)?)(?:\/(\d+))?\s?(%|[kmbt](?![a-z])|x(?![a-z])|times)?/g;
  const numbersIn = (text) => {
    const found = [...text.toLowerCase().matchAll(NUMBER)].map(([, digits, below, suffix]) => ({
      value: Number(digits.replaceAll(",", "")) / Number(below ?? 1) * (SCALES[suffix] ?? 1),
      times: suffix === "x" || suffix === "times",
    }));
    for (const word of text.toLowerCase().match(/[a-z]+/g) ?? []) if (word in WORDS) found.push({ value: WORDS[word], times: false });
    return found;
  };
  const same = (one, other) => one === other || Math.abs(one / other - 1) < 0.005;
  const index = claims.map((claim) => {
    const figure = article(claim).querySelector("figure, figure h4")?.textContent ?? "";
    const texts = [[claim.claim, 8], [claim.stated_text, 8], [claim.note, 3], [claim.formula, 2], [claim.source, 1],
      [claim.values.map(({ label }) => label).join(" "), 2], [Object.keys(claim.inputs).join(" "), 2], [claim.id, 9], [claim.chapter, 1], [figure, 1]]
      .map(([text, weight]) => ({ text: text.toLowerCase(), numbers: numbersIn(text), weight }));
    return { claim, texts };
  });
  const scoreOf = ({ claim, texts }, word) => {
    const wanted = numbersIn(word)[0];
    let score = 0;
    const typed = /^[\d.,]/.test(word);
    for (const { text, numbers, weight } of texts) {
      if (typed ? false : text.split(/[^\p{L}\p{N}_*]+/u).some((part) => part.startsWith(word))) score += weight;
      else if (wanted && numbers.some(({ value, times }) => same(value, wanted.value) && (!wanted.times || times))) score += weight;
    }
    if (wanted) {
      const fits = ({ value, unit }) => value !== null && same(value, wanted.value) && (!wanted.times || unit === "");
      claim.values.forEach((value, at) => { if (fits(value)) score += at === 0 ? 6 : 2; });
      for (const [name, value] of Object.entries(claim.inputs)) if (fits({ value, unit: reach[name].unit })) score += 2;
    }
    return score;
  };
  // The claims that have every word, the best first.
  const search = (query) => {
    const words = query.toLowerCase().replaceAll("\u00d7", "x").split(/\s+/).filter(Boolean);
    const scored = index.map((entry) => {
      const scores = words.map((word) => scoreOf(entry, word));
      return { id: entry.claim.id, score: scores.includes(0) ? 0 : scores.reduce((sum, one) => sum + one, 0) };
    });
    return scored.filter(({ score }) => score > 0).sort((one, other) => other.score - one.score).map(({ id }) => id);
  };
  const find = (query) => {
    const all = query.trim() === "", ids = all ? claims.map(({ id }) => id) : search(query);
    for (const claim of claims) article(claim).hidden = !ids.includes(claim.id);
    document.querySelector(".firsts").hidden = !all;
    for (const chapter of document.querySelectorAll(".chapter")) chapter.hidden = !chapter.querySelector(".claim:not([hidden])");
    const links = ids.slice(0, 12).map((id) => Object.assign(document.createElement("a"), { href: `#${id}`, textContent: id }));
    const count = ids.length === 0 ? "No claim has it." : `${ids.length} claim${ids.length === 1 ? "" : "s"}, the best first: `;
    document.getElementById("found").replaceChildren(...(all ? [] : [count, ...links.flatMap((link) => [link, " "])]));
  };

  const start = () => {
    for (const range of document.querySelectorAll("[data-move]")) {
      Object.assign(range, { min: 0, max: steps(reach[range.dataset.move]), step: 1 });
      range.addEventListener("input", () => {
        const name = range.dataset.move, of = reach[name];
        if (move(name, valueAt(of, Number(range.value)))) claims.filter((claim) => name in claim.inputs).forEach(show);
      });
    }
    for (const field of document.querySelectorAll("[data-type]")) {
      field.addEventListener("change", () => {
        field.setCustomValidity(field.value === "" ? "give a number" : move(field.dataset.type, Number(field.value)));
        field.reportValidity();
      });
    }
    for (const claim of claims) for (const [name, value] of Object.entries(claim.inputs)) place(article(claim), name, value);
    document.querySelectorAll(".move, .find").forEach((part) => { part.hidden = false; });
    document.getElementById("back").addEventListener("click", back);
    const box = document.getElementById("find");
    box.addEventListener("input", () => find(box.value));
    // A link to a claim that the search hides, or to a file that is folded, shows it.
    const open = () => {
      const to = document.getElementById(decodeURIComponent(location.hash.slice(1)));
      if (!to) return;
      if (to.closest(".claim[hidden], .chapter[hidden]")) {
        box.value = "";
        find("");
        to.scrollIntoView();
      }
      if (to instanceof HTMLDetailsElement) to.open = true;
    };
    addEventListener("hashchange", open);
    open();
  };
  start();
  return { claims, evaluate, judge, number, told, move, back, search, find };
})();
