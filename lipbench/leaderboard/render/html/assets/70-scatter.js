// Two columns of a table against each other, such as quality against cost.

const HEIGHT = 440, MARGIN = { top: 16, right: 24, bottom: 52, left: 64 };
const MARKS = 8;
const NONE = "(none)";

/** Paths of the marks, so that groups differ by more than their colour. */
const SHAPES = [
  "M4.5 0A4.5 4.5 0 1 1-4.5 0A4.5 4.5 0 1 1 4.5 0Z", "M-4-4H4V4H-4Z", "M0-5.4 5 3.8H-5Z", "M0-5.6 5.2 0 0 5.6-5.2 0Z",
  "M0 5.4-5-3.8H5Z", "M-5-1.6H-1.6V-5H1.6V-1.6H5V1.6H1.6V5H-1.6V1.6H-5Z", "M-5-4H5L0 0 5 4H-5L0 0Z", "M0-5.2 4.9-1.6 3.1 4.2H-3.1L-4.9-1.6Z",
];

class Scatter {
  constructor(model, open) {
    this.model = model;
    this.open = open;
    this.box = make("div", { class: "scatter" });
    this.controls = make("div", { class: "tools axes" });
    this.picture = make("div", { class: "picture" });
    this.tip = make("div", { class: "tip", hidden: true });
    this.legend = make("div", { class: "legend" });
    this.words = make("div", { class: "front" });
    this.box.append(this.controls, this.legend, this.picture, this.words);
    this.observer = new ResizeObserver(later(() => this.update(), 60));
    this.observer.observe(this.picture);
  }

  stop() {
    this.observer.disconnect();
  }

  /** What can stand on an axis: columns of numbers, and what the cells of the other axis cost. */
  axes() {
    const { table, names, suite } = this.model;
    const columns = table.columns.flatMap((column, c) => (column.number ? [{ id: names[c], words: names[c], unit: column.full_unit, direction: column.direction, column: c }] : []));
    const costs = table.cells ? Object.entries(COSTS).filter(([name]) => suite.records.columns[name]?.some((x) => x)) : [];
    return { columns, costs: costs.map(([name, { words, unit }]) => ({ id: `cost:${name}`, words, unit, direction: "lower", cost: name })) };
  }

  chosen() {
    const { columns, costs } = this.axes();
    const all = [...columns, ...costs], plot = this.model.plot;
    const find = (id) => all.find((axis) => axis.id === id);
    const shown = columns.filter((axis) => !this.model.hidden.has(axis.id));
    const y = find(plot.y) ?? shown.find((axis) => axis.direction !== "none") ?? shown[0] ?? columns[0];
    const x = find(plot.x) ?? costs[0] ?? shown.find((axis) => axis !== y) ?? y;
    const facts = this.model.table.facts;
    const color = plot.color in facts || plot.color === NONE ? plot.color : Object.keys(facts).sort((a, b) => variety(facts[a]) - variety(facts[b]))[0] ?? NONE;
    return { x, y, color, better: { x: plot.betterx ?? x.direction, y: plot.bettery ?? y.direction } };
  }

  points({ x, y }) {
    const { table, suite } = this.model;
    const value = (axis, other, row) => (axis.cost ? suite.cost(table, row, other.column ?? this.axes().columns[0].column, axis.cost) : entryOf(table.rows[row][axis.column]).value);
    return this.model.rows().flatMap((row) => {
      const point = { row, x: value(x, y, row), y: value(y, x, row) };
      return point.x === null || point.y === null ? [] : [point];
    });
  }

  set(name, value) {
    this.model.plot = { ...this.model.plot, [name]: value };
    if (name === "x" || name === "y") delete this.model.plot[`better${name}`];
    this.model.changed();
  }

  drawControls(chosen) {
    const { columns, costs } = this.axes();
    const option = (axis, selected) => make("option", { value: axis.id, selected: axis.id === selected.id }, axis.words);
    const axis = (name) => make("label", null, `${name} `, make("select", { "aria-label": `${name} axis`, on: { change: (e) => this.set(name, e.target.value) } },
      make("optgroup", { label: "Columns" }, ...columns.map((a) => option(a, chosen[name]))),
      costs.length ? make("optgroup", { label: "Cost of the other axis" }, ...costs.map((a) => option(a, chosen[name]))) : null));
    const better = (name) => make("select", { "aria-label": `Which way is better on ${name}`, on: { change: (e) => this.set(`better${name}`, e.target.value) } },
      ...Object.entries({ higher: "↑ higher is better", lower: "↓ lower is better", none: "no better" }).map(([value, words]) => make("option", { value, selected: chosen.better[name] === value }, words)));
    const log = (name) => checkbox("log", this.log[name], (on) => this.set(`log${name}`, on ? 1 : 0));
    const colors = [NONE, ...Object.keys(this.model.table.facts)];
    this.controls.replaceChildren(
      make("span", { class: "axis" }, axis("x"), better("x"), log("x")), make("span", { class: "axis" }, axis("y"), better("y"), log("y")),
      make("label", null, "colour ", make("select", { "aria-label": "Colour by", on: { change: (e) => this.set("color", e.target.value) } }, ...colors.map((name) => make("option", { value: name, selected: name === chosen.color }, name)))));
  }

  /** Groups by colour: the largest have marks of their own. */
  groups(points, color) {
    const fact = this.model.table.facts[color];
    if (!fact) return { of: () => 0, names: [] };
    const counts = new Map();
    for (const { row } of points) counts.set(fact[row], (counts.get(fact[row]) ?? 0) + 1);
    const names = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a) || collator.compare(a, b)).slice(0, counts.size > MARKS ? MARKS - 1 : MARKS).sort(collator.compare);
    return { of: (row) => (names.includes(fact[row]) ? names.indexOf(fact[row]) : MARKS), names, more: counts.size - names.length };
  }

  update() {
    if (!this.model.plot || this.box.hidden) return;
    const chosen = this.chosen(), points = this.points(chosen), width = Math.max(280, this.picture.clientWidth);
    this.log = Object.fromEntries(["x", "y"].map((name) => [name, this.logarithmic(name, points)]));
    if (!this.controls.contains(document.activeElement)) this.drawControls(chosen);
    const scale = (name, range) => niceScale(points.map((p) => p[name]), this.log[name], range);
    const x = scale("x", [MARGIN.left, width - MARGIN.right]), y = scale("y", [HEIGHT - MARGIN.bottom, MARGIN.top]);
    const sign = { higher: 1, lower: -1 };
    const front = chosen.better.x !== "none" && chosen.better.y !== "none" ? paretoFront(points, sign[chosen.better.x], sign[chosen.better.y]) : null;
    const groups = this.groups(points, chosen.color);
    const svg = draw("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": this.summary(chosen, points, front) },
      ...axisLines(x, y, chosen, width), front && this.frontLine(points, front, x, y, chosen.better.x === "lower" ? 1 : -1), ...this.marks(points, front, groups, x, y), ...(front ? this.labels(points, front, x, y, width) : []));
    this.listen(svg, points, x, y, chosen);
    this.picture.replaceChildren(points.length ? svg : make("p", { class: "empty" }, "No row has a number in both."), this.tip);
    this.drawLegend(groups);
    this.drawWords(chosen, points, front);
  }

  logarithmic(name, points) {
    const asked = this.model.plot[`log${name}`], values = points.map((p) => p[name]);
    const possible = values.length > 0 && values.every((v) => v > 0);
    return possible && (asked === undefined ? skewed(values) : Number(asked) === 1);
  }

  summary({ x, y }, points, front) {
    return `Scatter plot of ${points.length} rows, ${y.words} against ${x.words}${front ? `, ${front.size} on the Pareto front; they are listed below` : ""}`;
  }

  frontLine(points, front, x, y, side) {
    const line = [...front].map((i) => points[i]).sort((a, b) => a.x - b.x);
    const steps = line.map((p, i) => (i ? (side > 0 ? `H${x(p.x)}V${y(p.y)}` : `V${y(p.y)}H${x(p.x)}`) : `M${x(p.x)} ${y(p.y)}`));
    return draw("path", { class: "front-line", d: steps.join("") });
  }

  marks(points, front, groups, x, y) {
    const order = points.map((_, i) => i).sort((a, b) => Number(front?.has(a) ?? 0) - Number(front?.has(b) ?? 0));
    return order.map((i) => draw("path", {
      class: `point group-${groups.of(points[i].row)}${front && !front.has(i) ? " behind" : ""}`,
      d: SHAPES[groups.of(points[i].row) % MARKS], transform: `translate(${x(points[i].x).toFixed(1)} ${y(points[i].y).toFixed(1)})`,
    }));
  }

  /** Names of the points on the front, as many as find room. */
  labels(points, front, x, y, width) {
    const taken = [...front].map((i) => ({ left: x(points[i].x) - 5, right: x(points[i].x) + 5, top: y(points[i].y) - 5, bottom: y(points[i].y) + 5 }));
    const keys = distinctKeys(this.model.table, [...front].map((i) => points[i].row));
    return [...front].flatMap((i, k) => {
      const text = keys[k].length > 44 ? `${keys[k].slice(0, 43)}…` : keys[k], long = text.length * 6.2;
      const [px, py] = [x(points[i].x), y(points[i].y)];
      const tries = [[px + 8, py - 6, "start"], [px - 8, py - 6, "end"], [px + 8, py + 14, "start"], [px - 8, py + 14, "end"]];
      for (const [left, top, anchor] of tries) {
        const box = { left: anchor === "start" ? left : left - long, right: anchor === "start" ? left + long : left, top: top - 10, bottom: top + 3 };
        const inside = box.left > MARGIN.left && box.right < width && box.top > 0 && box.bottom < HEIGHT - MARGIN.bottom;
        if (!inside || taken.some((t) => box.left < t.right && t.left < box.right && box.top < t.bottom && t.top < box.bottom)) continue;
        taken.push(box);
        return [draw("text", { class: "point-name", x: left, y: top, "text-anchor": anchor }, text)];
      }
      return [];
    });
  }

  listen(svg, points, x, y, chosen) {
    const nearest = (event) => {
      const frame = svg.getBoundingClientRect(), px = event.clientX - frame.left, py = event.clientY - frame.top;
      let best = null, far = 24 ** 2;
      for (const point of points) {
        const away = (x(point.x) - px) ** 2 + (y(point.y) - py) ** 2;
        if (away < far) [best, far] = [point, away];
      }
      return best;
    };
    svg.addEventListener("pointermove", (event) => {
      const point = nearest(event);
      svg.classList.toggle("hit", point !== null);
      this.tip.hidden = !point;
      if (!point) return;
      this.tip.replaceChildren(make("strong", null, rowName(this.model.table, point.row)), ...["x", "y"].map((name) => make("div", null, `${chosen[name].words}: ${this.shown(chosen[name], point[name])}`)));
      const left = Math.min(x(point.x) + 12, this.picture.clientWidth - this.tip.offsetWidth - 4);
      this.tip.style.setProperty("left", `${Math.max(0, left)}px`);
      this.tip.style.setProperty("top", `${y(point.y) + 12}px`);
    });
    svg.addEventListener("pointerleave", () => (this.tip.hidden = true));
    svg.addEventListener("click", (event) => {
      const point = nearest(event);
      if (point) this.open(point.row, chosen.y.column ?? chosen.x.column ?? 0, false);
    });
  }

  shown(axis, value) {
    return axis.cost ? COSTS[axis.cost].show(value) : figure(value);
  }

  drawLegend(groups) {
    const item = (name, group) => make("span", null, draw("svg", { width: 12, height: 12, viewBox: "-6 -6 12 12", "aria-hidden": "true" }, draw("path", { class: `point group-${group}`, d: SHAPES[group % MARKS] })), name || "(empty)");
    this.legend.replaceChildren(...groups.names.map(item), ...(groups.more ? [item(`${groups.more} others`, MARKS)] : []));
  }

  drawWords(chosen, points, front) {
    if (!front) {
      this.words.replaceChildren(make("p", { class: "caption" }, "There is no front: one of the axes has no better."));
      return;
    }
    const line = [...front].map((i) => points[i]).sort((a, b) => a.x - b.x);
    this.words.replaceChildren(make("details", null, make("summary", null, `On the Pareto front: ${line.length} of ${points.length} rows`),
      make("ul", null, ...line.map((p) => make("li", null, make("button", { type: "button", class: "link", on: { click: () => this.open(p.row, chosen.y.column ?? chosen.x.column ?? 0, true) } }, rowName(this.model.table, p.row)),
        ` ${chosen.x.words} ${this.shown(chosen.x, p.x)}, ${chosen.y.words} ${this.shown(chosen.y, p.y)}`)))));
  }
}
