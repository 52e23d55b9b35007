// One table on the screen. Of long tables only the rows in sight exist. Arrow keys move through the places, as in a
// spreadsheet; one of them at a time is in the order of the Tab key.

const WHOLE = 120; // Tables of up to so many rows are drawn whole: they print, and the browser's own search finds them.
const ROW = 30;
const PAPER = 1000; // Pixels of a landscape page, A4 or Letter.
const RANK = 26; // Room for the rank before a value.
const PRINTED = 5000; // No one reads more rows on paper.

class Grid {
  constructor(model, open) {
    this.model = model;
    this.open = open;
    this.drawn = new Map();
    this.active = { row: 0, column: 0 };
    this.head = make("thead");
    this.body = make("tbody");
    this.columnGroup = make("colgroup");
    const { table } = model;
    this.element = make("table", { role: "grid", "aria-label": table.title, on: { keydown: (e) => this.key(e), click: (e) => this.click(e) } }, this.columnGroup, this.head, this.body);
    this.scroller = make("div", { class: "scroller" }, this.element);
    this.whole = table.rows.length <= WHOLE;
    if (!this.whole) this.scroller.classList.add("long");
    this.virtual = new vendor.Virtualizer({
      count: 0,
      getScrollElement: () => this.scroller,
      estimateSize: () => ROW,
      overscan: 12,
      observeElementRect: vendor.observeElementRect,
      observeElementOffset: vendor.observeElementOffset,
      scrollToFn: vendor.elementScroll,
      onChange: () => this.drawRows(),
    });
  }

  /** Once it is in the page. */
  begin() {
    const style = getComputedStyle(this.element);
    this.sizes = measure(this.model.table, this.model.names, `${style.fontSize} ${style.fontFamily}`);
    this.end = this.virtual._didMount();
    this.virtual._willUpdate();
    addEventListener("beforeprint", (this.before = () => this.print(true)));
    addEventListener("afterprint", (this.after = () => this.print(false)));
  }

  stop() {
    this.end?.();
    removeEventListener("beforeprint", this.before);
    removeEventListener("afterprint", this.after);
  }

  /** Draw anew after a change of the model. */
  update() {
    this.rows = this.model.rows();
    this.columns = this.model.columns();
    this.active.row = Math.min(this.active.row, this.rows.length - 1);
    this.active.column = Math.min(this.active.column, this.columns.length - 1);
    this.drawHead();
    this.drawn.clear();
    this.body.replaceChildren();
    this.virtual.setOptions({ ...this.virtual.options, count: this.rows.length });
    this.virtual._willUpdate();
    this.virtual.measure();
    this.drawRows();
  }

  drawHead() {
    const { table, sorting, names } = this.model;
    const widths = fitted(this.columns.map((c) => (this.model.ranks && this.sizes[c].ranks ? { ...this.sizes[c], width: this.sizes[c].width + RANK } : this.sizes[c])), this.scroller.clientWidth);
    this.columnGroup.replaceChildren(...widths.map((width) => make("col", { css: { width: `${width}px` } })));
    this.element.style.setProperty("width", `${widths.reduce((sum, width) => sum + width, 0)}px`);
    this.element.setAttribute("aria-rowcount", this.rows.length + 1);
    this.element.setAttribute("aria-colcount", this.columns.length);
    const cells = this.columns.map((c, place) => {
      const column = table.columns[c];
      const sort = sorting.find((s) => s.column === c);
      const order = sort ? (sort.desc ? "descending" : "ascending") : "none";
      const hint = [names[c], column.full_unit, column.number ? BETTER[column.direction] : ""].filter(Boolean).join(", ");
      const button = make("button", { type: "button", class: "sort", tabindex: -1, title: hint },
        headName(names[c], column.direction),
        column.unit && make("span", { class: "unit" }, column.unit),
        make("span", { class: "order", "aria-hidden": "true" }, sort ? (sort.desc ? "▼" : "▲") + (sorting.length > 1 ? sorting.indexOf(sort) + 1 : "") : ""));
      return make("th", { role: "columnheader", scope: "col", "aria-sort": order, "aria-colindex": place + 1, "data-column": place, "data-row": -1, class: column.number ? "number" : "words" }, button);
    });
    this.head.replaceChildren(make("tr", { role: "row", "aria-rowindex": 1 }, ...cells));
  }

  /** The rows in sight; those drawn before stay. */
  drawRows(items = this.whole ? around(0, this.rows?.length) : this.virtual.getVirtualItems()) {
    if (!this.rows) return;
    const first = items[0]?.index ?? 0, last = items.at(-1)?.index ?? -1;
    if (first === this.first && last === this.last && this.drawn.size) return;
    [this.first, this.last] = [first, last];
    for (const [index, line] of this.drawn) if (index < first || index > last) (line.remove(), this.drawn.delete(index));
    const lines = items.map(({ index }) => this.drawn.get(index) ?? this.drawRow(index));
    const focused = this.body.contains(document.activeElement);
    this.body.replaceChildren(this.space(first), ...lines, this.space(this.rows.length - 1 - last));
    if (!this.rows.length) this.body.replaceChildren(make("tr", { class: "none" }, make("td", { colspan: this.columns.length }, "No row fits. ")));
    this.activate(focused);
  }

  space(count) {
    return make("tr", { "aria-hidden": "true", class: "space", css: { height: `${count * ROW}px` } });
  }

  drawRow(index) {
    const row = this.rows[index], above = this.rows[index - 1];
    const { table } = this.model;
    const line = make("tr", { role: "row", "aria-rowindex": index + 2 });
    let same = above !== undefined;
    this.columns.forEach((c, place) => {
      const entry = entryOf(table.rows[row][c]), column = table.columns[c];
      same &&= !column.number && entryOf(table.rows[above][c]).text === entry.text;
      const cell = make("td", { role: place ? "gridcell" : "rowheader", tabindex: -1, "aria-colindex": place + 1, "data-row": index, "data-column": place, class: this.looks(entry, column, c, same) + (row === this.selected?.row && c === this.selected.column ? " open" : "") }, ...this.content(entry, column, c));
      line.append(cell);
    });
    this.drawn.set(index, line);
    return line;
  }

  looks(entry, column, c, same) {
    const classes = [column.number ? "number" : "words"];
    if (same) classes.push("same");
    if (this.sizes[c].prose) classes.push("prose");
    if (entry.marks & BEST) classes.push("best");
    if (entry.text === "failed") classes.push("failed");
    return classes.join(" ");
  }

  content(entry, column, c) {
    const size = this.sizes[c], parts = column.number ? numberParts(entry.text) : null;
    const wrap = (...text) => (entry.marks & STRUCK ? [make("s", null, ...text)] : entry.marks & SECOND ? [make("span", { class: "second" }, ...text)] : text);
    const note = entry.note === null ? null : make("sup", null, String(entry.note));
    if (!parts) {
      const title = !column.number && !size.prose && entry.text.length > 24 ? { title: entry.text } : null;
      return [title ? make("span", title, entry.text) : entry.text, note];
    }
    const [whole, rest, spread] = parts;
    const rank = this.model.ranks && entry.rank ? make("span", { class: "rank" }, make("span", { class: "sr" }, "rank "), String(entry.rank), make("span", { class: "sr" }, ", ")) : null;
    return [
      rank,
      ...wrap(whole, size.rest ? make("span", { class: "rest", css: { width: `${size.rest}px` } }, rest) : null),
      size.spread ? make("span", { class: "spread", css: { width: `${size.spread}px` } }, spread && ` ${spread}`) : null,
      size.note ? make("span", { class: "mark", css: { width: `${size.note}px` } }, note) : note,
    ];
  }

  at(row, column) {
    return one(row < 0 ? `th[data-column="${column}"] button` : `td[data-row="${row}"][data-column="${column}"]`, this.element);
  }

  /** Make the active place the one that Tab reaches. */
  activate(focus) {
    for (const old of this.element.querySelectorAll('[tabindex="0"]')) old.setAttribute("tabindex", -1);
    const place = this.at(this.active.row, this.active.column) ?? this.at(-1, this.active.column);
    place?.setAttribute("tabindex", 0);
    if (focus) place?.focus({ preventScroll: true });
  }

  moveTo(row, column) {
    this.active = { row: Math.max(-1, Math.min(row, this.rows.length - 1)), column: Math.max(0, Math.min(column, this.columns.length - 1)) };
    if (!this.at(this.active.row, 0)) {
      // The scroll event, after which the rows would be drawn, comes later than the focus has to move.
      this.scroller.scrollTop = Math.max(0, this.active.row * ROW - this.scroller.clientHeight / 2);
      this.drawRows(around(this.active.row, this.rows.length));
    }
    this.activate(true);
    this.reveal(this.at(this.active.row, this.active.column));
    this.moved?.(this.active);
  }

  /** Into sight, past the header and the first column, which cover what is below them. */
  reveal(place) {
    if (!place) return;
    const cell = place.closest("td, th"), box = cell.getBoundingClientRect(), frame = this.scroller.getBoundingClientRect();
    const left = this.active.column ? one("th", this.head).getBoundingClientRect().width : 0;
    const top = this.active.row < 0 ? 0 : this.head.getBoundingClientRect().height;
    if (box.left < frame.left + left) this.scroller.scrollLeft -= frame.left + left - box.left;
    else if (box.right > frame.right) this.scroller.scrollLeft += box.right - frame.right;
    if (box.top < frame.top + top) this.scroller.scrollTop -= frame.top + top - box.top;
    else if (box.bottom > frame.bottom) this.scroller.scrollTop += box.bottom - frame.bottom;
    cell.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  key(event) {
    const { row, column } = this.active;
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / ROW) - 2);
    const far = event.ctrlKey || event.metaKey;
    const moves = {
      ArrowUp: [row - 1, column], ArrowDown: [row + 1, column], ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1],
      PageUp: [Math.max(0, row - page), column], PageDown: [row + page, column],
      Home: [far ? 0 : row, 0], End: [far ? Infinity : row, Infinity],
    };
    if (moves[event.key] && !event.altKey) {
      event.preventDefault();
      this.moveTo(...moves[event.key]);
    } else if ((event.key === "Enter" || event.key === " ") && row >= 0 && event.target.closest("td")) {
      event.preventDefault();
      this.open(this.rows[row], this.columns[column], true);
    } else if (event.key === "Enter" && event.shiftKey && row < 0) {
      event.preventDefault();
      this.sort(column, true);
    }
  }

  click(event) {
    const cell = event.target.closest("th, td[data-row]");
    if (!cell || String(getSelection())) return;
    this.active = { row: Number(cell.dataset.row), column: Number(cell.dataset.column) };
    if (cell.tagName === "TH") {
      if (event.target.closest("button")) this.sort(this.active.column, event.shiftKey);
      return;
    }
    this.activate(true);
    this.open(this.rows[this.active.row], this.columns[this.active.column], false);
  }

  sort(column, more) {
    this.model.sortBy(this.columns[column], more);
    this.active = { row: -1, column };
    this.scroller.scrollTop = 0;
    this.activate(true);
  }

  /** Put the focus back to the active place, as when the panel closes. */
  focus() {
    this.moveTo(this.active.row, this.active.column);
  }

  /** Mark the place that the panel is about; -1 for none. */
  select(row, column) {
    this.selected = { row, column };
    for (const old of this.element.querySelectorAll(".open")) old.classList.remove("open");
    const index = this.rows.indexOf(row), place = this.columns.indexOf(column);
    if (index < 0 || place < 0) return;
    this.active = { row: index, column: place };
    this.at(index, place)?.classList.add("open");
  }

  /** On paper all rows are there, as small as the width of a page asks for. */
  print(begins) {
    this.element.style.setProperty("zoom", begins ? Math.max(0.3, Math.min(1, PAPER / (this.element.offsetWidth || 1))) : 1);
    if (!this.whole && this.rows) this.drawRows(begins ? around(0, Math.min(this.rows.length, PRINTED)) : undefined);
  }
}

/** The name of a column, which may break, with an arrow that stays at its last part. */
function headName(name, direction) {
  const parts = name.split(BREAKS), last = parts.pop();
  const arrow = ARROWS[direction] && make("span", { class: "arrow", role: "img", "aria-label": BETTER[direction] }, `\u00a0${ARROWS[direction]}`);
  return make("span", { class: "name" }, ...parts.flatMap((part) => [part, make("wbr")]), make("span", { class: "last" }, last, arrow));
}

/** So many rows on both sides of one, as the virtualizer gives them; of a whole table all. */
function around(row, count = 0, many = count > PRINTED || row ? 40 : count) {
  const first = Math.max(0, row - many);
  return Array.from({ length: Math.max(0, Math.min(count, row + many + 1) - first) }, (_, i) => ({ index: first + i }));
}
