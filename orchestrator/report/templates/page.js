// Sorting, filters, charts and the panel of a trial. Everything that is shown is set as text, never as markup.
"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id)?.textContent || "null");
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  function make(tag, properties, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(properties || {})) {
      if (name in made) made[name] = value;
      else made.setAttribute(name, value);
    }
    return fill(made, ...children);
  }

  function fill(parent, ...children) {
    parent.replaceChildren(...children.filter((child) => child !== null));
    return parent;
  }

  // Tables: a button in each heading sorts the rows of each group; a field above a long table filters them.
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    return cell ? (cell.dataset.value ?? cell.textContent.trim()) : "";
  };
  const isKnown = (text) => text !== "" && text !== "–";

  function compareTexts(one, other) {
    const [a, b] = [one, other].map((text) => Number(text.replaceAll(",", "").replace(/[x%]$/, "").trim()));
    return Number.isNaN(a) || Number.isNaN(b) ? one.localeCompare(other, "en", { numeric: true }) : a - b;
  }

  function sortBy(table, heading, column) {
    const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    all("th[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    for (const body of table.tBodies) {
      const rows = all("tr", body).filter((row) => !row.querySelector("th[scope=rowgroup]"));
      rows.sort((one, other) => {
        const [a, b] = [valueOf(one, column), valueOf(other, column)];
        if (isKnown(a) !== isKnown(b)) return isKnown(a) ? -1 : 1; // what is not known stays at the end
        return sign * compareTexts(a, b);
      });
      body.append(...rows);
    }
  }

  function filterBy(table, text) {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    for (const body of table.tBodies) {
      const group = body.querySelector("th[scope=rowgroup]");
      let shown = 0;
      for (const row of body.rows) {
        if (group && row.contains(group)) continue;
        const said = `${group ? group.textContent : ""} ${row.textContent}`.toLowerCase();
        row.hidden = !words.every((word) => said.includes(word));
        shown += row.hidden ? 0 : 1;
      }
      body.hidden = shown === 0;
    }
  }

  for (const table of all("table.sortable")) {
    all("thead tr:last-child th", table).forEach((heading, column) => {
      const button = make("button", { type: "button" }, ...heading.childNodes);
      fill(heading, button);
      button.addEventListener("click", () => sortBy(table, heading, column));
    });
    if (all("tbody td:first-of-type", table).length > 5) {
      const field = make("input", { type: "search", placeholder: "filter rows" });
      field.setAttribute("aria-label", "Filter the rows of this table");
      field.addEventListener("input", () => filterBy(table, field.value));
      table.closest(".scroll").before(make("p", { className: "filter" }, field));
    }
  }

  // Charts: the definition that the SVG beside this page was made from; narrow windows get one panel in a row.
  const OPTIONS = {
    actions: false, ast: true, defaultStyle: false, renderer: "svg", mode: "vega-lite",
    tooltip: { disableDefaultStyle: true },
  };

  function fitted(spec, room) {
    if (!spec.spec) return { ...spec, width: Math.max(160, Math.min(spec.width, room - 110)) }; // 110: axis and padding
    const columns = room < 2 * spec.spec.width + 330 ? 1 : spec.columns; // 330: those of two panels, names, a gap
    const width = Math.max(160, Math.min(spec.spec.width, room - 200));
    return { ...spec, columns, spec: { ...spec.spec, width } };
  }

  async function draw(place, spec) {
    if (!window.vegaEmbed) return;
    const chart = make("div", { className: "live" });
    place.after(chart);
    await window.vegaEmbed(chart, fitted(spec, place.closest("figure, dialog").clientWidth), OPTIONS);
    place.hidden = true;
  }

  const specs = read("chart-data") || {};
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      seen.unobserve(entry.target);
      draw(entry.target, specs[entry.target.dataset.chart]);
    }
  }, { rootMargin: "600px" });
  all("img[data-chart]").filter((image) => specs[image.dataset.chart]).forEach((image) => seen.observe(image));

  // The panel: #t12 shows trial 12, #row3 the trials behind a number of that row.
  const { names, trials } = read("trial-data") || { names: [], trials: [] };
  for (const trial of trials) {
    const known = names.map((name, at) => [name, trial.numbers[at]]).filter(([, value]) => value !== null);
    trial.numbers = Object.fromEntries(known);
  }
  const groups = read("row-data") || [];
  const panel = document.getElementById("panel");
  const said = (value) => (value === null || value === undefined ? "–" : String(value));
  const facts = (pairs) =>
    make("dl", {}, ...pairs.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));

  function curve(name, title, values) {
    const template = (read("panel-charts") || {})[name];
    const known = values.map((value, at) => ({ at: at + 1, value })).filter((point) => point.value !== null);
    if (!template || known.length < 2) return null;
    const anchor = make("span", {});
    queueMicrotask(() => draw(anchor, { ...template, data: { values: known } }));
    return make("figure", {}, make("figcaption", {}, title), anchor);
  }

  function auditOf(trial) {
    return Object.entries(trial.audit || {}).map(([name, value]) =>
      [`audit: ${name}`, `${said(value)} (bound ${said(trial.bounds[name])})`]);
  }

  function showTrial(trial) {
    const status = make("span", { className: trial.status === "ok" ? "good" : "bad" }, trial.status);
    fill(panel,
      make("form", { method: "dialog" }, make("button", {}, "Close")),
      make("h2", { id: "panel-title" }, `Trial ${trial.ordinal}: ${trial.subject}`),
      make("p", {}, `${trial.cell}, seed ${trial.seed}, repeat ${trial.repeat}: `, status),
      trial.reason ? make("p", { className: "bad" }, trial.reason) : null,
      make("h3", {}, "Run it again"),
      make("pre", {}, trial.command),
      curve("steps", "Steps after the warm-up, ms (medians of equal parts of the series)", trial.steps_ms),
      curve("losses", "Mean training loss of each epoch", trial.losses),
      curve("valid", "Validation accuracy after each epoch", trial.valid),
      make("h3", {}, "Clocks and results"),
      facts([
        ...Object.entries(trial.numbers).map(([name, value]) => [name.replaceAll("_", " "), said(value)]),
        ...auditOf(trial),
        ["weights sha256", said(trial.weights)],
        ["environment", make("a", { href: `#${trial.environment}` }, "its packages and settings")],
      ]),
      trial.log ? make("h3", {}, "End of its log") : null,
      trial.log ? make("pre", {}, trial.log) : null,
    );
  }

  function showRow(row) {
    const links = row.trials.map((at) => trials[at]).map((trial) =>
      make("tr", {},
        make("th", { scope: "row" }, make("a", { href: `#t${trial.ordinal}` }, `trial ${trial.ordinal}`)),
        ...[trial.seed, trial.repeat, trial.status, trial.numbers.step_ms, trial.numbers.epoch_s, trial.numbers.accuracy_test]
          .map((value) => make("td", { className: "n" }, said(value)))));
    const names = ["trial", "seed", "repeat", "status", "step ms", "epoch s", "test accuracy"];
    fill(panel,
      make("form", { method: "dialog" }, make("button", {}, "Close")),
      make("h2", { id: "panel-title" }, row.title),
      make("p", {}, `Its numbers are medians over ${row.trials.length} trials.`),
      make("table", {}, make("thead", {}, make("tr", {}, ...names.map((name, at) => make("th", { scope: "col", className: at ? "n" : "" }, name)))),
        make("tbody", {}, ...links)),
    );
  }

  function follow() {
    const [, kind, number] = location.hash.match(/^#(t|row)(\d+)$/) || [];
    const trial = kind === "t" && trials.find((one) => one.ordinal === Number(number));
    const row = kind === "row" && groups[Number(number)];
    if (trial) showTrial(trial);
    else if (row && row.trials.length === 1) showTrial(trials[row.trials[0]]);
    else if (row) showRow(row);
    if (!trial && !row) panel.close();
    else if (!panel.open) panel.showModal();
    panel.scrollTop = 0;
  }

  panel.addEventListener("close", () => {
    if (/^#(t|row)\d+$/.test(location.hash)) history.pushState(null, "", location.pathname + location.search);
  });
  window.addEventListener("hashchange", follow);
  follow();
})();
