// All that is known of one place of a table, in a panel beside it.

class Panel {
  constructor(element, closed) {
    this.element = element;
    this.closed = closed;
    addEventListener("keydown", (event) => {
      const inBox = document.querySelector("[popover]:popover-open") || document.querySelector("dialog[open]");
      if (event.key === "Escape" && !this.element.hidden && !inBox) this.close(true);
    });
  }

  /** Show a place; `focus` moves into the panel, else it stays where it is. */
  show(view, row, column, focus) {
    this.view = view;
    this.place = { row, column };
    const { table } = view.model;
    const records = view.suite.recordsAt(table, row, column).map((number) => view.suite.record(number));
    const rowOnly = column < table.keys;
    this.title = make("h2", { id: "panel-title", tabindex: -1 }, rowOnly ? rowName(table, row) || table.title : view.model.names[column]);
    this.element.replaceChildren(
      make("div", { class: "panel-head" },
        make("div", null, make("p", { class: "over" }, table.title), this.title),
        make("button", { type: "button", class: "plain close", "aria-label": "Close the panel", on: { click: () => this.close(true) } }, "×")),
      make("div", { class: "panel-body" }, ...(rowOnly ? this.rowParts(row) : this.placeParts(row, column, records))));
    this.element.hidden = false;
    this.element.scrollTop = 0;
    document.body.classList.add("with-panel");
    view.grid.select(row, column);
    if (focus) this.title.focus();
  }

  close(back) {
    if (this.element.hidden) return;
    this.element.hidden = true;
    document.body.classList.remove("with-panel");
    const { view } = this;
    view.grid.select(-1, -1);
    this.place = null;
    this.closed();
    if (back && !view.box.hidden) view.grid.focus();
  }

  /** The whole row, its hidden columns among it. */
  rowParts(row) {
    const { model } = this.view, { table } = model;
    const values = table.columns.flatMap((column, c) => {
      const entry = entryOf(table.rows[row][c]);
      if (c < table.keys || !entry.text) return [];
      const open = make("button", { type: "button", class: "link", on: { click: () => this.view.open(row, c, true) } }, model.names[c]);
      return [make("div", null, make("dt", null, open, ARROWS[column.direction] && ` ${ARROWS[column.direction]}`), make("dd", null, valueWords(entry), entry.note === null ? null : make("sup", null, String(entry.note))))];
    });
    return [pairs(this.facts(row)), section("Values", make("dl", { class: "pairs numbers" }, ...values)), this.notesOf(table.rows[row].map(entryOf)), this.actions(row, null)];
  }

  placeParts(row, column, records) {
    const { model, suite } = this.view, { table } = model;
    const entry = entryOf(table.rows[row][column]), said = table.columns[column];
    const broken = records.filter((record) => record.status !== "ok");
    return [
      make("p", { class: "of" }, rowName(table, row)),
      make("p", { class: "value" }, valueWords(entry), entry.value !== null && said.full_unit && make("span", { class: "unit" }, ` ${said.full_unit}`)),
      pairs(this.figures(entry, said)),
      records.length > 1 || records[0]?.low != null ? seedPlot(records, entry) : null,
      // The note of a place that failed as a whole says what is said below.
      records.length && broken.length === records.length ? null : this.notesOf([entry]),
      ...failures(broken, suite.logs),
      records.length ? section("Seeds", seedTable(records)) : null,
      section("Row", pairs(this.facts(row))),
      ...(records.length ? provenance(records, suite) : []),
      this.actions(row, column),
    ];
  }

  figures(entry, column) {
    const [got, asked] = entry.seeds ?? [];
    return [
      ["direction", column.direction === "none" ? "" : `${ARROWS[column.direction]} ${BETTER[column.direction]}`],
      ["in full", entry.value === null ? "" : String(entry.value)],
      ["interval", entry.low === null || entry.low === undefined ? "" : `${figure(entry.low)} to ${figure(entry.high)}${howWords(entry.level, entry.method)}`],
      ["rank", entry.rank === null || entry.rank === undefined ? "" : `${entry.rank} of those it competes with`],
      ["behind the best", entry.effect === null || entry.effect === undefined ? "" : `Cohen's d ${figure(entry.effect, 3)}`],
      ["seeds", asked ? (got === asked ? String(got) : `${got} of ${asked}`) : ""],
    ];
  }

  facts(row) {
    const { table, names } = this.view.model;
    const shown = names.slice(0, table.keys).map((name, c) => [name, entryOf(table.rows[row][c]).text]);
    const more = Object.entries(table.facts).filter(([name]) => !names.slice(0, table.keys).includes(name)).map(([name, values]) => [name, values[row]]);
    return [...shown, ...more];
  }

  notesOf(entries) {
    const numbers = [...new Set(entries.map((entry) => entry.note).filter((note) => note !== null))];
    if (!numbers.length) return null;
    return make("ul", { class: "remarks" }, ...numbers.map((note) => make("li", null, make("sup", null, String(note)), " ", ...linked(this.view.model.table.notes[note - 1]))));
  }

  actions(row, column) {
    const { model } = this.view;
    const action = (words, act) => make("button", { type: "button", class: "tool", on: { click: () => (this.close(false), act()) } }, words);
    const name = model.names.find((known) => known in model.table.facts) ?? Object.keys(model.table.facts)[0];
    return make("div", { class: "actions" }, action("Hide this row", () => model.drop(row)),
      column === null ? null : action("Hide this column", () => model.show(column, false)),
      name ? action(`Only ${name}: ${model.table.facts[name][row]}`, () => (model.filters.set(name, new Set([model.table.facts[name][row]])), model.apply())) : null);
  }
}

/** A term and its text for each pair that has one. */
function pairs(list) {
  const full = list.filter(([, text]) => text !== "" && text !== null && text !== undefined);
  return full.length ? make("dl", { class: "pairs" }, ...full.map(([name, text]) => make("div", null, make("dt", null, name), make("dd", null, ...linked(String(text)))))) : null;
}

function section(title, ...content) {
  return make("section", null, make("h3", null, title), ...content);
}

function folded(title, ...content) {
  return make("details", null, make("summary", null, title), ...content);
}

function valueWords(entry) {
  const text = entry.text || "–";
  const marked = entry.marks & STRUCK ? make("s", null, text) : entry.marks & BEST ? make("strong", null, text) : text;
  return make("span", { class: entry.marks & SECOND ? "second" : null }, marked);
}

function howWords(level, method) {
  const share = typeof level === "number" ? (level === 1 ? "rigorous" : `${figure(level * 100, 4)} %`) : "";
  const words = [share, method].filter(Boolean).join(", ");
  return words ? ` (${words})` : "";
}
