// How wide columns are, so that rows that are not there yet will fit as well, and numbers stand point below point.

const NUMBER = /^([-−]?\d+)(\.\d+)?(e[-+]?\d+)?( (?:± .*|\[.*\]))?$/;
const WIDEST = 340, WORDS = 56, WORDS_LEAST = 230, MOST_MEASURED = 12;

/** Whole part, the rest of the number, and what follows; null where the text is no number. */
function numberParts(text) {
  if (text === "-") return ["–", "", ""]; // in line with the whole parts
  const found = NUMBER.exec(text);
  return found && [found[1], (found[2] ?? "") + (found[3] ?? ""), (found[4] ?? "").trim()];
}

const ruler = document.createElement("canvas").getContext("2d");

/** Pixels of the longest of some texts in a font. */
function widest(texts, font) {
  ruler.font = font;
  const longest = [...new Set(texts)].sort((a, b) => b.length - a.length).slice(0, MOST_MEASURED);
  return Math.ceil(Math.max(0, ...longest.map((text) => ruler.measureText(text).width)));
}

/** Of each column its width and, for numbers, those of their parts. */
function measure(table, names, font) {
  const strong = `600 ${font}`, small = `600 ${font.replace(/^[\d.]+px/, (size) => `${parseFloat(size) * 0.92}px`)}`;
  return table.columns.map((column, c) => {
    const entries = table.rows.map((line) => entryOf(line[c]));
    const texts = entries.map((entry) => entry.text);
    const notes = entries.some((entry) => entry.note !== null) ? 14 : 0;
    const parts = names[c].split(BREAKS);
    const arrow = ARROWS[column.direction] && `\u00a0${ARROWS[column.direction]}`;
    const head = Math.min(widest([...parts, parts.at(-1) + arrow, column.unit], small), WIDEST) + 30;
    if (!column.number) {
      const wide = widest(texts, strong) + notes;
      // Sentences are broken where the rows may have any height.
      const prose = table.rows.length <= WHOLE && texts.some((text) => text.length > WORDS);
      return { width: Math.max(Math.min(wide, prose ? WIDEST * 1.6 : WIDEST) + 24, head), least: Math.min(wide + 24, WORDS_LEAST), prose };
    }
    const numbers = texts.map(numberParts).filter(Boolean);
    const [whole, rest, spread] = [0, 1, 2].map((i) => widest(numbers.map((part) => part[i]), strong));
    const words = widest(texts.filter((text) => !numberParts(text)), strong);
    const wide = whole + rest + (spread ? spread + 8 : 0);
    return { width: Math.max(wide + notes, words + notes, head - 12) + 26, rest, spread: spread && spread + 8, note: notes, ranks: entries.some((entry) => entry.rank) };
  });
}

/** Widths of some columns: the first, which stays in sight, leaves room for others, and sentences give way to what is beside them. */
function fitted([first, ...others], room) {
  const sizes = [{ ...first, width: Math.min(first.width, Math.max(110, room * 0.42)) }, ...others];
  const total = sizes.reduce((sum, size) => sum + size.width, 0);
  const gives = sizes.reduce((sum, size) => sum + (size.prose ? Math.max(0, size.width - size.least) : 0), 0);
  const share = gives ? Math.min(1, Math.max(0, total - room) / gives) : 0;
  return sizes.map((size) => (size.prose ? Math.floor(size.width - share * Math.max(0, size.width - size.least)) : size.width));
}
