// The rows and columns of one table that are shown, and in which order.

const features = vendor.tableFeatures({
  coreReactivityFeature: vendor.storeReactivityBindings(),
  columnFilteringFeature: vendor.columnFilteringFeature,
  columnFacetingFeature: vendor.columnFacetingFeature,
  rowSortingFeature: vendor.rowSortingFeature,
  filteredRowModel: vendor.createFilteredRowModel(),
  facetedRowModel: vendor.createFacetedRowModel(),
  facetedUniqueValues: vendor.createFacetedUniqueValues(),
  sortedRowModel: vendor.createSortedRowModel(),
});

const among = (row, id, chosen) => chosen.has(row.getValue(id));
/** A text to search in or for: letters with accents may be one sign or two. */
const plain = (text) => text.normalize().toLowerCase();
const QUERY = "?query", DROPPED = "?dropped";

class TableModel {
  constructor(suite, table, changed) {
    this.suite = suite;
    this.table = table;
    this.changed = changed;
    this.names = uniqueNames(table.columns);
    this.start = table.extra ? [] : table.columns.flatMap((column, c) => (this.constant(c) && c > 0 ? [this.names[c]] : []));
    this.hidden = new Set(this.start);
    this.dropped = new Set();
    this.filters = new Map();
    this.sorting = [];
    this.query = "";
    this.plot = null;
    this.ranked = table.rows.some((line) => line.some((raw) => entryOf(raw).rank));
    this.ranks = false;
    this.grid = vendor.constructTable({
      features,
      data: table.rows.map((_, index) => index),
      columns: [
        ...table.columns.map((_, c) => this.sortable(c)),
        ...Object.keys(table.facts).map((name) => ({ id: `=${name}`, accessorFn: (row) => table.facts[name][row], filterFn: among })),
        { id: QUERY, accessorFn: (row) => this.searched(row), filterFn: (row, id, terms) => terms.every((term) => row.getValue(id).includes(term)) },
        { id: DROPPED, accessorFn: (row) => row, filterFn: (row, id, rows) => !rows.has(row.getValue(id)) },
      ],
      getRowId: (row) => String(row),
    });
  }

  /** A column to sort by: places without a number or a text stay last, whichever way it goes. */
  sortable(c) {
    let keys = null;
    const sortFn = (a, b) => {
      keys ??= this.sortKeys(c);
      const x = keys[a.index], y = keys[b.index];
      if (x < y) return -1;
      if (x > y) return 1;
      return x === y ? 0 : (Number.isNaN(x) - Number.isNaN(y)) * (this.sorting.find((sort) => sort.column === c)?.desc ? -1 : 1);
    };
    return { id: `#${c}`, accessorFn: (row) => row, sortFn };
  }

  /** A number to sort each row by, NaN where it has none. Texts are put in order once: comparing them each time takes far longer. */
  sortKeys(c) {
    const entries = this.table.rows.map((line) => entryOf(line[c]));
    if (this.table.columns[c].number) return Float64Array.from(entries, (entry) => entry.value ?? NaN);
    const places = new Map([...new Set(entries.map((entry) => entry.text))].sort(collator.compare).map((text, i) => [text, text ? i : NaN]));
    return Float64Array.from(entries, (entry) => places.get(entry.text));
  }

  /** All words of a row, its roles among them, shown or not. */
  searched(row) {
    const texts = this.table.rows[row].map((raw) => (typeof raw === "string" ? raw : raw[0]));
    const facts = Object.values(this.table.facts).map((values) => values[row]);
    return plain([...texts, ...facts].join("\n"));
  }

  /** Whether a column of words says the same in each of several rows. */
  constant(c) {
    const rows = this.table.rows;
    if (this.table.columns[c].number || rows.length < 3) return false;
    const first = entryOf(rows[0][c]).text;
    return rows.every((line) => entryOf(line[c]).text === first && entryOf(line[c]).note === null);
  }

  /** Numbers of the rows that are shown, in their order. */
  rows() {
    return this.grid.getRowModel().rows.map((row) => row.index);
  }

  /** Numbers of the columns that are shown. */
  columns() {
    return this.names.flatMap((name, c) => (this.hidden.has(name) ? [] : [c]));
  }

  /** How many rows each value of a role has under the other filters. */
  counts(fact) {
    return this.grid.getColumn(`=${fact}`).getFacetedUniqueValues();
  }

  get narrowed() {
    return this.filters.size > 0 || this.query !== "" || this.dropped.size > 0;
  }

  apply() {
    const terms = plain(this.query).split(/\s+/).filter(Boolean);
    const filters = [...this.filters].map(([name, values]) => ({ id: `=${name}`, value: values }));
    if (terms.length) filters.push({ id: QUERY, value: terms });
    if (this.dropped.size) filters.push({ id: DROPPED, value: new Set(this.dropped) });
    this.grid.setColumnFilters(filters);
    this.grid.setSorting(this.sorting.map(({ column, desc }) => ({ id: `#${column}`, desc })));
    this.changed();
  }

  /** Best first, then the other way round, then as the suite has it; `more` keeps what is sorted by already. */
  sortBy(column, more) {
    const best = this.table.columns[column].direction === "higher" || (this.table.columns[column].number && this.table.columns[column].direction === "none");
    const old = this.sorting.find((sort) => sort.column === column);
    const desc = old ? !old.desc : best;
    const next = old && old.desc !== best ? [] : [{ column, desc }];
    const others = more ? this.sorting.filter((sort) => sort.column !== column) : [];
    this.sorting = [...others, ...next];
    this.apply();
  }

  filter(name, value, on) {
    const values = new Set(this.filters.get(name) ?? []);
    if (on) values.add(value);
    else values.delete(value);
    if (values.size) this.filters.set(name, values);
    else this.filters.delete(name);
    this.apply();
  }

  show(column, on) {
    if (on) this.hidden.delete(this.names[column]);
    else if (this.columns().length > 1) this.hidden.add(this.names[column]);
    this.changed();
  }

  drop(row) {
    this.dropped.add(row);
    this.apply();
  }

  reset() {
    this.filters.clear();
    this.dropped.clear();
    this.query = "";
    this.sorting = [];
    this.ranks = false;
    this.hidden = new Set(this.start);
    this.apply();
  }

  /** What differs from the start, for the address. */
  write(params) {
    const id = this.table.id;
    for (const { column, desc } of this.sorting) params.append(`${id}.sort`, (desc ? "-" : "") + this.names[column]);
    for (const [name, values] of this.filters) for (const value of values) params.append(`${id}.f.${name}`, value);
    if (this.query) params.set(`${id}.q`, this.query);
    if (this.ranks) params.set(`${id}.ranks`, "1");
    for (const row of this.dropped) params.append(`${id}.drop`, rowName(this.table, row));
    for (const name of this.hidden) if (!this.start.includes(name)) params.append(`${id}.hide`, name);
    for (const name of this.start) if (!this.hidden.has(name)) params.append(`${id}.show`, name);
    for (const [name, value] of Object.entries(this.plot ?? {})) params.set(`${id}.plot.${name}`, value);
  }

  /** The view that an address describes; what it names and this table does not have is passed over. */
  read(params) {
    this.sorting = params.getAll("sort").flatMap((text) => {
      // A column may itself start with a minus.
      const desc = text.startsWith("-") && !this.names.includes(text);
      const column = this.names.indexOf(desc ? text.slice(1) : text);
      return column < 0 ? [] : [{ column, desc }];
    });
    this.filters = new Map();
    for (const name of Object.keys(this.table.facts)) {
      const values = params.getAll(`f.${name}`);
      if (values.length) this.filters.set(name, new Set(values));
    }
    this.query = params.get("q") ?? "";
    this.ranks = this.ranked && params.get("ranks") === "1";
    const dropped = new Set(params.getAll("drop"));
    this.dropped = new Set(dropped.size ? this.table.rows.flatMap((_, row) => (dropped.has(rowName(this.table, row)) ? [row] : [])) : []);
    this.hidden = new Set([...this.start, ...params.getAll("hide").filter((name) => this.names.includes(name))]);
    for (const name of params.getAll("show")) this.hidden.delete(name);
    const plot = [...params].filter(([name]) => name.startsWith("plot.")).map(([name, value]) => [name.slice(5), value]);
    this.plot = plot.length ? Object.fromEntries(plot) : null;
    this.apply();
  }
}

function uniqueNames(columns) {
  const seen = new Map();
  return columns.map(({ name }) => {
    seen.set(name, (seen.get(name) ?? 0) + 1);
    return seen.get(name) === 1 ? name : `${name} (${seen.get(name)})`;
  });
}
