// What stands above a table: search, filters by role, choice of columns, and what is filtered by now.

let popovers = 0;

/** A button that opens a box below itself; `content` is asked each time it opens. */
function dropdown(label, content) {
  const id = `popover-${++popovers}`;
  const box = make("div", { id, popover: "auto", class: "popover", role: "dialog", "aria-label": label });
  const button = make("button", { type: "button", class: "tool", popovertarget: id, "aria-haspopup": "dialog" }, label);
  box.addEventListener("beforetoggle", (event) => {
    if (event.newState === "open") box.replaceChildren(...content());
  });
  box.addEventListener("toggle", (event) => {
    if (event.newState !== "open") return;
    const place = button.getBoundingClientRect();
    const left = Math.max(8, Math.min(place.left, innerWidth - box.offsetWidth - 8));
    box.style.setProperty("left", `${left}px`);
    box.style.setProperty("top", `${Math.max(8, Math.min(place.bottom + 4, innerHeight - box.offsetHeight - 8))}px`);
  });
  return { button, box };
}

function checkbox(label, checked, listener, extra) {
  return make("label", { class: "check" },
    make("input", { type: "checkbox", checked, on: { change: (event) => listener(event.target.checked) } }),
    make("span", { class: "label" }, label || "(empty)"), extra);
}

class Controls {
  constructor(model) {
    this.model = model;
    const { table } = model;
    this.search = make("input", { type: "search", class: "search", placeholder: "Search rows", "aria-label": `Search rows of ${table.title}`, autocomplete: "off", spellcheck: "false" });
    const search = () => ((model.query = this.search.value), model.apply());
    // While someone types, a pause is waited for; Enter and the cross of the field come as `search`.
    this.search.addEventListener("input", later(search, table.rows.length > 2000 ? 120 : 40));
    this.search.addEventListener("search", search);
    this.filter = dropdown("Filter", () => this.filters());
    this.choice = dropdown("Columns", () => this.columnList());
    this.count = make("span", { class: "count", role: "status" });
    this.reset = make("button", { type: "button", class: "tool quiet", on: { click: () => this.model.reset() } }, "Reset");
    this.ranks = model.ranked && make("button", { type: "button", class: "tool", title: "The place of each value among those it competes with; ties share one", on: { click: () => ((model.ranks = !model.ranks), model.changed()) } }, "Ranks");
    this.chips = make("div", { class: "chips" });
    const few = table.rows.length < 8;
    const filters = Object.keys(table.facts).length ? [this.filter.button, this.filter.box] : [];
    this.line = make("div", { class: "tools" }, ...(few ? [] : [this.search, ...filters]), this.choice.button, this.choice.box, this.ranks || null, this.reset, this.count);
    this.elements = [this.line, this.chips];
  }

  filters() {
    const names = Object.keys(this.model.table.facts);
    return names.map((name) => {
      const values = [...new Set(this.model.table.facts[name])].sort(collator.compare);
      const chosen = () => this.model.filters.get(name) ?? new Set();
      const list = make("div", { class: "values" });
      const fillList = () => {
        const counts = this.model.counts(name);
        list.replaceChildren(...values.map((value) => {
          const count = counts.get(value) ?? 0;
          const change = (on) => this.model.filter(name, value, on);
          return checkbox(value, chosen().has(value), change, make("span", { class: "how-many" }, String(count)));
        }));
      };
      const section = make("details", { open: chosen().size > 0 || names.length === 1, on: { toggle: () => section.open && fillList() } },
        make("summary", null, name, make("span", { class: "how-many" }, String(values.length))), list);
      if (section.open) fillList();
      return section;
    });
  }

  columnList() {
    const { model } = this;
    const all = (on) => {
      model.hidden = new Set(on ? [] : model.names.slice(1));
      model.changed();
      this.choice.box.replaceChildren(...this.columnList());
    };
    return [
      make("div", { class: "both" },
        make("button", { type: "button", class: "tool", on: { click: () => all(true) } }, "All"),
        make("button", { type: "button", class: "tool", on: { click: () => all(false) } }, "None")),
      make("div", { class: "values" }, ...model.names.map((name, c) => checkbox(name, !model.hidden.has(name), (on) => model.show(c, on)))),
    ];
  }

  update() {
    const { model } = this;
    const rows = model.grid.getRowModel().rows.length, all = model.table.rows.length;
    this.count.replaceChildren(rows === all ? `${grouped.format(all)} rows` : `${grouped.format(rows)} of ${grouped.format(all)} rows`);
    if (document.activeElement !== this.search) this.search.value = model.query;
    const columns = model.columns().length, width = model.names.length;
    this.choice.button.replaceChildren("Columns", columns < width ? make("span", { class: "how-many" }, `${columns}/${width}`) : "");
    const changed = model.narrowed || model.sorting.length || model.ranks || [...model.hidden].join() !== model.start.join();
    this.reset.hidden = !changed;
    if (this.ranks) this.ranks.setAttribute("aria-pressed", String(model.ranks));
    const chips = [...model.filters].flatMap(([name, values]) => [...values].map((value) => this.chip(`${name}: ${value || "(empty)"}`, () => model.filter(name, value, false))));
    if (model.dropped.size) chips.push(this.chip(`${model.dropped.size} hidden row${model.dropped.size > 1 ? "s" : ""}`, () => (model.dropped.clear(), model.apply())));
    this.chips.replaceChildren(...chips);
    this.chips.hidden = !chips.length;
  }

  chip(text, remove) {
    return make("button", { type: "button", class: "chip", title: "Remove", on: { click: remove } }, text, make("span", { "aria-hidden": "true" }, " ×"), make("span", { class: "sr" }, " (remove)"));
  }
}
