// One suite: its words, its tables, its plots, and the YAML that it ran with.

class TableView {
  constructor(suite, table, page) {
    this.suite = suite;
    this.page = page;
    this.model = new TableModel(suite, table, () => this.update());
    this.grid = new Grid(this.model, (...place) => this.open(...place));
    this.controls = new Controls(this.model);
    this.scatter = new Scatter(this.model, (...place) => this.open(...place));
    this.scatter.box.hidden = true;
    this.grid.moved = ({ row, column }) => row >= 0 && page.follows(this) && this.open(this.grid.rows[row], this.grid.columns[column], false);
    const numbers = table.columns.filter((column) => column.number).length + (table.cells ? 1 : 0);
    if (numbers > 1 && table.rows.length > 2) {
      this.toggle = make("button", { type: "button", class: "tool", "aria-pressed": "false", on: { click: () => this.flip() } }, "Scatter");
      this.controls.line.insertBefore(this.toggle, this.controls.reset);
    }
    const notes = make("ol", { class: "notes" }, ...table.notes.map((note) => make("li", null, ...linked(note))));
    const unit = table.unit ? [`Values in ${table.unit}.`] : [];
    const caption = [...unit, ...table.caption].join(" ");
    this.box = make("section", { class: "table", id: `t-${table.id}`, tabindex: -1, "aria-label": table.title },
      make("h2", null, table.title), caption ? captionWords(caption) : null,
      ...this.controls.elements, this.scatter.box, this.grid.scroller,
      table.notes.length > 8 ? folded(`${table.notes.length} notes`, notes) : table.notes.length ? notes : null);
  }

  flip() {
    this.model.plot = this.model.plot ? null : {};
    this.model.changed();
  }

  open(row, column, focus) {
    this.page.openPanel(this, row, column, focus);
  }

  update() {
    const plotted = this.model.plot !== null && this.toggle !== undefined;
    this.grid.scroller.hidden = plotted;
    this.scatter.box.hidden = !plotted;
    this.toggle?.setAttribute("aria-pressed", String(plotted));
    this.controls.update();
    if (plotted) this.scatter.update();
    else this.grid.update();
    this.page.changed();
  }

  stop() {
    this.grid.stop();
    this.scatter.stop();
  }
}

const LONG_CAPTION = 320;

/** A caption; the rest of a long one waits behind its first sentences. */
function captionWords(text) {
  if (text.length < LONG_CAPTION) return make("p", { class: "caption" }, ...linked(text));
  const end = text.indexOf(". ", LONG_CAPTION / 2) + 1;
  if (end < 1 || end > LONG_CAPTION * 1.5) return make("p", { class: "caption" }, ...linked(text));
  return make("details", { class: "caption" }, make("summary", null, ...linked(text.slice(0, end))), make("p", null, ...linked(text.slice(end))));
}

class SuitePage {
  constructor(root, suite, panel) {
    this.root = root;
    this.suite = suite;
    this.panel = panel;
    this.quiet = true;
    this.views = suite.tables.map((table) => new TableView(suite, table, this));
    this.plots = suite.plots.length ? plotGallery(suite.plots) : null;
    const parts = [
      ...this.views.map((view) => [view.model.table.title, view.box]),
      this.plots && ["Plots", make("section", { id: "plots", tabindex: -1, "aria-label": "Plots" }, make("h2", null, "Plots"), this.plots.element)],
      suite.yaml && ["Suite", make("section", { id: "yaml", tabindex: -1, "aria-label": "Suite" }, make("h2", null, "Suite"), make("p", { class: "caption" }, "As its latest run resolved it, profile and settings applied."), make("pre", { class: "yaml", tabindex: 0, "aria-label": "The suite in YAML" }, ...yamlWords(suite.yaml)))],
    ].filter(Boolean);
    const links = parts.map(([title, box]) => make("button", { type: "button", class: "jump", on: { click: () => this.jump(box) } }, title));
    root.replaceChildren(make("article", null, this.head(), make("nav", { class: "parts", "aria-label": "Parts of this suite" }, ...links), ...this.findings(), ...parts.map(([, box]) => box)));
    for (const view of this.views) view.grid.begin();
  }

  head() {
    const { suite } = this, { about } = suite;
    const facts = [["suite", suite.name], ["profile", about.profile], ["task", about.task], ["cells", about.done === about.cells ? grouped.format(about.cells) : `${grouped.format(about.done)} of ${grouped.format(about.cells)}`], ["failed", String(about.failed)], ["seeds", String(about.seeds)], ["time in metrics", duration(about.seconds)], ["device", about.devices.join(", ")], ["last run", dateWords(about.latest)]];
    return make("header", { class: "suite-head" }, make("h1", null, suite.title), ...suite.description.map((text) => make("p", { class: "lead" }, ...linked(text))),
      suite.citation ? make("p", { class: "citation" }, make("span", { class: "over" }, "Source "), ...linked(suite.citation)) : null,
      make("dl", { class: "facts" }, ...facts.filter(([, text]) => text).map(([name, text]) => make("div", { class: name === "failed" && about.failed ? "bad" : null }, make("dt", null, name), make("dd", null, text)))));
  }

  findings() {
    if (!this.suite.findings.length) return [];
    return [make("section", { class: "alert", "aria-label": "Contradictions" }, make("h2", null, "Contradictions"), make("ul", null, ...this.suite.findings.map((finding) => make("li", null, ...linked(finding)))))];
  }

  jump(box) {
    box.scrollIntoView({ block: "start" });
    box.focus({ preventScroll: true });
  }

  /** Show what an address says; of one that has just been opened, bring the table that it is about into sight. */
  read(params, first) {
    this.quiet = true;
    for (const view of this.views) view.model.read(paramsOf(params, view.model.table.id));
    const place = this.placeOf(params);
    if (place) {
      this.panel.show(place.view, place.row, place.column, false);
      place.view.box.scrollIntoView({ block: "start" });
      if (!place.view.grid.scroller.hidden) place.view.grid.focus();
    } else {
      this.panel.close(false);
      const about = first && this.views.find((view) => paramsOf(params, view.model.table.id).size);
      if (about && about !== this.views[0]) about.box.scrollIntoView({ block: "start" });
    }
    this.quiet = false;
  }

  placeOf(params) {
    const cell = params.get("cell") && this.suite.find(params.get("cell"));
    if (cell) return { ...cell, view: this.views.find((view) => view.model.table === cell.table) };
    const [id, name, column] = params.getAll("at");
    const view = this.views.find((v) => v.model.table.id === id);
    if (!view) return null;
    const row = view.model.table.rows.findIndex((_, r) => rowName(view.model.table, r) === name);
    return row < 0 ? null : { view, row, column: Math.max(0, view.model.names.indexOf(column)) };
  }

  openPanel(view, row, column, focus) {
    this.panel.show(view, row, column, focus);
    this.changed();
  }

  follows(view) {
    return this.panel.place && this.panel.view === view;
  }

  /** Keep the address current. */
  changed() {
    if (this.quiet) return;
    const params = new URLSearchParams();
    for (const view of this.views) view.model.write(params);
    if (this.panel.place) {
      const { row, column } = this.panel.place, { table, names } = this.panel.view.model;
      const [number] = this.suite.recordsAt(table, row, column);
      const found = number === undefined ? null : this.suite.find(this.suite.records.columns.cell[number]);
      if (found?.table === table && found.row === row && found.column === column) params.set("cell", this.suite.records.columns.cell[number]);
      else for (const text of [table.id, rowName(table, row), names[column]]) params.append("at", text);
    }
    writeRoute(this.suite.name, params);
  }

  stop() {
    this.quiet = true;
    this.panel.close(false);
    for (const view of this.views) view.stop();
    this.plots?.stop();
    this.root.replaceChildren();
  }
}

/** YAML with its keys set apart. */
function yamlWords(text) {
  return text.split("\n").flatMap((line) => {
    const found = /^(\s*(?:- )*)([\w. -]+)(:)(\s.*|)$/.exec(line);
    return found ? [found[1], make("span", { class: "key" }, found[2]), `${found[3]}${found[4]}\n`] : [`${line}\n`];
  });
}

function dateWords(run) {
  return /^\d{8}$/.test(run) ? `${run.slice(0, 4)}-${run.slice(4, 6)}-${run.slice(6)}` : run;
}
