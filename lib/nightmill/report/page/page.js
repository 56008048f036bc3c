"use strict";
(() => {
  const told = JSON.parse(document.getElementById("told").textContent);
  const root = document.documentElement;
  const SVG = "http://www.w3.org/2000/svg";
  const WORDS = { alarm: "in alarm", worse: "worse than usual", normal: "as usual", unknown: "no forecast" };

  // numbers and times

  const count = (value) => value.toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");

  function number(value) {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    const text =
      size === 0 || size >= 100
        ? count(Math.round(value))
        : size >= 0.1
          ? value.toFixed(size >= 10 ? 1 : size >= 1 ? 2 : 3)
          : value.toPrecision(3);
    return text.replace("-", "−");
  }

  const plain = (value) => String(Number(value.toPrecision(4))).replace("-", "−");

  function clock(zone, options) {
    const format = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...options });
    return (seconds) => format.format(new Date(seconds * 1000));
  }

  function ticks(low, high, many) {
    const raw = (high - low) / many;
    if (!(raw > 0)) return [low];
    const unit = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 2.5, 5, 10].map((f) => f * unit).find((s) => s >= raw);
    const found = [];
    for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n += 1) found.push(n * step);
    return found;
  }

  function draw(parent, name, attributes, text) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  }

  function element(name, text, css) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (css) made.className = css;
    return made;
  }

  // pages

  const pages = [...document.querySelectorAll(".page")];

  function show(move) {
    const asked = decodeURIComponent(location.hash.slice(1)) || "overview";
    const target = document.getElementById(asked);
    const page = (target && target.closest(".page")) || pages[0];
    for (const one of pages) one.classList.toggle("current", one === page);
    for (const link of document.querySelectorAll("nav a")) {
      if (link.getAttribute("href") === `#${page.id}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (page.dataset.case) drawCase(page);
    if (!move) return;
    (target || page).focus({ preventScroll: true });
    if (target && target !== page) target.scrollIntoView();
    else window.scrollTo(0, 0);
  }

  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the page that is shown stays
    pages.find((one) => one.classList.contains("current")).focus();
  });

  // maps and floor plans

  function sign(status) {
    const found = document.querySelector(`.legend .spots.${status}, .status .spots.${status}`);
    return found ? found.closest("svg").cloneNode(true) : document.createTextNode("");
  }

  function setUpPlan(section) {
    const plan = told.plans[Number(section.dataset.plan)];
    const picture = section.querySelector("svg.plan");
    const cursor = picture.querySelector(".cursor");
    const input = section.querySelector("input");
    const output = section.querySelector("output");
    const lower = plan.name.map((name) => name.toLowerCase());

    function tell(n) {
      cursor.setAttribute("visibility", n < 0 ? "hidden" : "visible");
      if (n < 0) return;
      cursor.setAttribute("cx", plan.x[n] / 10);
      cursor.setAttribute("cy", plan.y[n] / 10);
      const status = told.statuses[plan.status[n]];
      const area = plan.areas[plan.area[n]];
      output.replaceChildren(element("strong", plan.name[n]), `${area ? `, ${area}` : ""}: ${WORDS[status]}`);
      if (plan.text[n]) output.append(`, ${plan.text[n]}`);
      const page = plan.pages[plan.page[n]];
      if (page) {
        const link = element("a", page);
        link.href = `#${page}`;
        output.append(" – ", link);
      }
    }

    picture.addEventListener("pointermove", (event) => {
      const box = picture.getBoundingClientRect();
      const scale = (10 * picture.viewBox.baseVal.width) / box.width;
      const x = (event.clientX - box.left) * scale;
      const y = (event.clientY - box.top) * scale;
      let best = -1;
      let nearest = (16 * scale) ** 2;
      for (let n = 0; n < plan.x.length; n += 1) {
        const far = (plan.x[n] - x) ** 2 + (plan.y[n] - y) ** 2;
        if (far < nearest) {
          nearest = far;
          best = n;
        }
      }
      if (best >= 0) tell(best);
    });
    input.addEventListener("input", () => {
      const asked = input.value.trim().toLowerCase();
      if (!asked) return tell(-1);
      let found = lower.indexOf(asked);
      if (found < 0) found = lower.findIndex((name) => name.startsWith(asked));
      if (found < 0) found = lower.findIndex((name) => name.includes(asked));
      tell(found);
      if (found < 0) output.textContent = "There is no such entity.";
    });
  }

  // forecasts against truth

  function panelOf(panel, of, name) {
    const figure = element("figure");
    figure.append(element("figcaption", `${name}: ${panel.title}`));
    const wide = Math.max(280, Math.min(1240, figureWidth));
    const high = 230;
    const [left, right, top, bottom] = [44, 12, 14, 38];
    const count = panel.value.length;
    const known = [...panel.truth, ...panel.value, ...panel.lo, ...panel.hi].filter((v) => v !== null);
    if (!known.length) {
      figure.append(element("p", "Nothing is known of this entity."));
      return figure;
    }
    let low = Math.min(...known);
    let top_ = Math.max(...known);
    if (of.daily || low < 0.4 * top_) low = Math.min(0, low);
    const air = (top_ - low || 1) * 0.06;
    if (low !== 0) low -= air;
    top_ += air;
    const x = (n) => left + ((wide - left - right) * (count > 1 ? n / (count - 1) : 0.5));
    const y = (v) => top + (high - top - bottom) * (1 - (v - low) / (top_ - low));
    const svg = draw(figure, "svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": said(panel, of) });
    for (const tick of ticks(low, top_, 4)) {
      draw(svg, "path", { class: "grid-line", d: `M${left} ${y(tick)}H${wide - right}` });
      draw(svg, "text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, plain(tick));
    }
    if (of.unit) draw(svg, "text", { x: left + 3, y: top - 2 }, of.unit);
    timeAxis(svg, panel, of, { x, wide, high, bottom, count });
    let run = [];
    const bands = [];
    for (let n = 0; n <= count; n += 1) {
      if (n < count && panel.lo[n] !== null && panel.hi[n] !== null) run.push(n);
      else if (run.length) {
        bands.push(run);
        run = [];
      }
    }
    for (const band of bands) {
      if (band.length === 1) {
        const [n] = band;
        draw(svg, "rect", { class: "band", x: x(n) - 4, width: 8, y: y(panel.hi[n]), height: y(panel.lo[n]) - y(panel.hi[n]) });
        continue;
      }
      const up = band.map((n) => `${x(n).toFixed(1)} ${y(panel.hi[n]).toFixed(1)}`);
      const down = band.map((n) => `${x(n).toFixed(1)} ${y(panel.lo[n]).toFixed(1)}`).reverse();
      draw(svg, "path", { class: "band", d: `M${[...up, ...down].join("L")}Z` });
    }
    for (const [name, css] of [["truth", "truth"], ["value", "model"]]) {
      let path = "";
      let pen = false;
      let alone = [];
      panel[name].forEach((v, n) => {
        if (v === null) {
          pen = false;
          return;
        }
        path += `${pen ? "L" : "M"}${x(n).toFixed(1)} ${y(v).toFixed(1)}`;
        if (of.daily || count < 4) alone.push(n);
        pen = true;
      });
      draw(svg, "path", { class: `line ${css}`, d: path });
      for (const n of alone) draw(svg, "circle", { class: `dot ${css}`, cx: x(n), cy: y(panel[name][n]), r: 3 });
    }
    const hair = draw(svg, "path", { class: "hair", visibility: "hidden" });
    const at = clock(of.daily ? "UTC" : of.zone, of.daily ? { day: "numeric", month: "short" } : { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const n = Math.round(((((event.clientX - box.left) * wide) / box.width - left) / (wide - left - right)) * (count - 1));
      if (n < 0 || n >= count) return;
      hair.setAttribute("d", `M${x(n)} ${top}V${high - bottom}`);
      hair.setAttribute("visibility", "visible");
      const parts = [at(panel.start + n * panel.every)];
      if (panel.truth[n] !== null) parts.push(`truth ${number(panel.truth[n])}`);
      if (panel.value[n] !== null) parts.push(`predicted ${number(panel.value[n])} (${number(panel.lo[n])} to ${number(panel.hi[n])})`);
      const output = figure.closest(".card").querySelector(".picker output");
      output.textContent = parts.join(" · ");
    });
    svg.addEventListener("pointerleave", () => hair.setAttribute("visibility", "hidden"));
    return figure;
  }

  function timeAxis(svg, panel, of, { x, wide, high, bottom, count }) {
    const span = panel.every * (count - 1);
    const hour = clock(of.daily ? "UTC" : of.zone, of.daily ? { day: "numeric", month: "short" } : { hour: "2-digit", minute: "2-digit" });
    const local = clock(of.zone, { hour: "numeric", minute: "numeric", second: "numeric" });
    const choices = [300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];
    const many = Math.max(2, Math.floor(wide / 80));
    const step = choices.find((one) => one >= panel.every && span / one <= many) || Math.max(panel.every, span / many);
    let last = -Infinity;
    for (let n = 0; n < count; n += 1) {
      const [h, m, s] = of.daily ? [0, 0, 0] : local(panel.start + n * panel.every).split(":").map(Number);
      const onStep = of.daily ? (n * panel.every) % step === 0 : (h * 3600 + m * 60 + s) % step < panel.every;
      if (!onStep || x(n) - last < 52) continue;
      last = x(n);
      const anchor = x(n) > wide - 24 ? "end" : "middle";
      draw(svg, "text", { x: x(n), y: high - bottom + 16, "text-anchor": anchor }, hour(panel.start + n * panel.every));
    }
    const zone = of.daily ? "night" : of.zone;
    draw(svg, "text", { x: wide - 12, y: high - 4, "text-anchor": "end" }, zone);
  }

  function said(panel, of) {
    let [both, inside, error] = [0, 0, 0];
    panel.value.forEach((v, n) => {
      if (v === null || panel.truth[n] === null) return;
      both += 1;
      error += Math.abs(v - panel.truth[n]);
      if (panel.lo[n] <= panel.truth[n] && panel.truth[n] <= panel.hi[n]) inside += 1;
    });
    const values = panel.value.filter((v) => v !== null);
    const last = values.length ? `last predicted value ${number(values[values.length - 1])} ${of.unit}` : "no prediction";
    return both
      ? `${panel.title}: ${last}; mean absolute error ${number(error / both)}, ${inside} of ${both} true values in the interval`
      : `${panel.title}: ${last}; truth is not known yet`;
  }

  let figureWidth = 560;

  function drawCase(page) {
    const of = told.cases[page.dataset.case];
    const place = page.querySelector(".panels");
    if (!of || !place) return;
    const one = of.chosen[Number(page.querySelector("select").value)];
    const inside = place.clientWidth;
    const columns = inside > 660 ? Math.min(2, one.panels.length) : 1;
    figureWidth = inside ? (inside - 16 * (columns - 1)) / columns : 560;
    place.replaceChildren(...one.panels.map((panel) => panelOf(panel, of, one.name)));
  }

  function setUpPicker(page) {
    const select = page.querySelector(".picker select");
    if (!select) return;
    const output = page.querySelector(".picker output");
    const redraw = () => {
      output.textContent = "";
      drawCase(page);
    };
    select.addEventListener("change", redraw);
    for (const button of page.querySelectorAll("[data-step]")) {
      button.addEventListener("click", () => {
        const many = select.options.length;
        select.selectedIndex = (select.selectedIndex + Number(button.dataset.step) + many) % many;
        redraw();
        output.textContent = select.options[select.selectedIndex].text;
      });
    }
  }

  // tables of entities: the first hundred of those that are asked for

  const MOST = 100;

  function setUpEntities(page) {
    const table = page.querySelector("table.entities");
    if (!table) return;
    const of = told.cases[page.dataset.case];
    const input = table.closest(".card").querySelector("input");
    const output = table.closest(".card").querySelector("output");
    const body = table.tBodies[0];
    const heads = [...table.querySelectorAll("[data-by]")];
    const withArea = heads.some((head) => head.dataset.by === "area");
    const lower = of.name.map((name, n) => `${name} ${of.areas[of.area[n]]}`.toLowerCase());
    const all = of.name.map((_, n) => n);
    let by = "";
    let descending = true;

    const value = (n) => (by === "area" ? of.areas[of.area[n]] : of[by][n]);

    function compare(a, b) {
      const [one, other] = [value(a), value(b)];
      if (one === null || other === null) return (one === null) - (other === null);
      const order = typeof one === "string" ? one.localeCompare(other, undefined, { numeric: true }) : one - other;
      return descending ? -order : order;
    }

    function row(n) {
      const made = element("tr");
      const head = element("th", of.name[n]);
      head.scope = "row";
      const status = told.statuses[of.status[n]];
      const state = element("td");
      const shown = element("span", undefined, `status ${status}`);
      shown.append(sign(status), ` ${WORDS[status]}`);
      state.append(shown);
      made.append(head);
      if (withArea) made.append(element("td", of.areas[of.area[n]]));
      made.append(state);
      for (const name of ["error", "usual", "value"]) made.append(element("td", number(of[name][n]), "n"));
      made.append(element("td", `${number(of.lo[n])} to ${number(of.hi[n])}`, "n"));
      return made;
    }

    function fill() {
      const asked = input.value.trim().toLowerCase();
      const found = asked ? all.filter((n) => lower[n].includes(asked)) : [...all];
      if (by) found.sort(compare);
      else found.sort((a, b) => of.status[a] - of.status[b] || (of.error[b] ?? -1) - (of.error[a] ?? -1));
      body.replaceChildren(...found.slice(0, MOST).map(row));
      const shown = Math.min(found.length, MOST);
      output.textContent = `${count(shown)} of ${count(found.length)} entities${asked ? " found" : ""}`;
    }

    for (const head of heads) {
      const button = element("button", head.textContent);
      button.type = "button";
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const text = ["name", "area", "status"].includes(head.dataset.by);
        descending = by === head.dataset.by ? !descending : !text;
        by = head.dataset.by;
        for (const one of heads) one.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", descending ? "descending" : "ascending");
        fill();
      });
    }
    let waiting = 0;
    input.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(fill, 80);
    });
  }

  root.classList.add("js");
  for (const section of document.querySelectorAll("[data-plan]")) setUpPlan(section);
  for (const page of pages.filter((one) => one.dataset.case)) {
    setUpPicker(page);
    setUpEntities(page);
  }
  show(false);
  window.addEventListener("hashchange", () => show(true));
  let resized = 0;
  window.addEventListener("resize", () => {
    clearTimeout(resized);
    resized = setTimeout(() => {
      const page = pages.find((one) => one.classList.contains("current"));
      if (page.dataset.case) drawCase(page);
    }, 120);
  });
  // the other pages are drawn once this one is there: they are printed too
  setTimeout(() => pages.filter((one) => one.dataset.case && !one.classList.contains("current")).forEach(drawCase), 0);
})();
