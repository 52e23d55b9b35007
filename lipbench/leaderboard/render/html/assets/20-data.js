// A suite as it is unpacked: tables with their entries, and records by number.

const BEST = 1, SECOND = 2, STRUCK = 4;

/** Text, value, marks and note of a place; places without more than a text are texts. */
function entryOf(raw) {
  if (typeof raw === "string") return { text: raw, value: null, marks: 0, note: null, low: null, high: null };
  const [text, value = null, marks = 0, note = null, rank = null, effect = null, seeds = null, low = null, high = null, level = null, method = null] = raw;
  return { text, value, marks, note, low, high, level, method, rank, effect, seeds };
}

const opened = new Map();

/** Unpack a suite, once. */
function openSuite(number) {
  if (!opened.has(number)) opened.set(number, inflated(`suite-${number}`).json().then((raw) => new Suite(raw)));
  return opened.get(number);
}

class Suite {
  constructor(raw) {
    Object.assign(this, raw);
    for (const table of this.tables) if (table.cells) this.complete(table);
    this.numbers = new Map(raw.records.columns.cell?.map((cell, number) => [cell, number]) ?? []);
  }

  /** Put value and interval of the only record behind a place into the place, which has a mark instead. */
  complete(table) {
    const { columns, intervals } = this.records;
    table.rows.forEach((line, row) => line.forEach((raw, column) => {
      if (!Array.isArray(raw) || raw[1] !== true) return;
      const [number] = table.cells[row][column];
      const [level, method] = intervals[columns.interval[number]] ?? [];
      raw[1] = columns.value[number];
      if (columns.low[number] !== null) Object.assign(raw, { 7: columns.low[number], 8: columns.high[number], 9: level, 10: method });
    }));
  }

  /** A record with its words, and what its cell is made of. */
  record(number) {
    const { columns, words, parts, setups, intervals } = this.records;
    const record = Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values[number]]));
    for (const name of ["status", "unit", "direction", "group", "unranked", "error", "device", "run"]) record[name] = words[record[name]];
    record.parts = setups[record.setup].map((part) => parts[part]);
    record.how = record.interval === null ? null : intervals[record.interval];
    return record;
  }

  /** Records behind a place of a table; none where the table does not know them. */
  recordsAt(table, row, column) {
    return table.cells?.[row]?.[column] ?? [];
  }

  /** Where the record of a cell is shown: table, row and column. */
  find(cell) {
    const number = this.numbers.get(cell);
    if (number === undefined) return null;
    for (const table of this.tables) {
      for (const [row, line] of (table.cells ?? []).entries()) {
        const column = line.findIndex((records) => records.includes(number));
        if (column >= 0) return { table, row, column };
      }
    }
    return null;
  }

  /** The mean of a cost over the seeds of a place; null where it was not measured. */
  cost(table, row, column, name) {
    const found = this.recordsAt(table, row, column).map((number) => this.records.columns[name][number]).filter((x) => x !== null);
    return found.length ? found.reduce((sum, x) => sum + x, 0) / found.length : null;
  }
}

/** What names a row: the texts of its first columns. */
function rowKeys(table, row) {
  return table.rows[row].slice(0, table.keys).map((raw) => (typeof raw === "string" ? raw : raw[0]));
}

function rowName(table, row) {
  return rowKeys(table, row).filter(Boolean).join(" · ");
}

const collator = new Intl.Collator("en", { numeric: true });
