// Scales and axes of the scatter plot.

function variety(values) {
  const count = new Set(values).size;
  return count <= MARKS ? -count : count;
}

/** Whether most of some positive values would lie on top of each other at the low end of an axis. */
function skewed(values) {
  const sorted = [...values].sort((a, b) => a - b), low = sorted[0], high = sorted.at(-1);
  return high / low > 5 && (sorted[Math.floor(sorted.length / 2)] - low) / (high - low) < 0.12;
}

function niceScale(values, log, range) {
  let low = Math.min(...values), high = Math.max(...values);
  if (!(low < high)) [low, high] = log ? [low / 2, high * 2] : [low - (Math.abs(low) / 10 || 1), high + (Math.abs(high) / 10 || 1)];
  if (log) return vendor.scaleLog([low / 1.15, high * 1.15], range);
  const more = (high - low) * 0.04;
  return vendor.scaleLinear([low - more, high + more], range);
}

/** Lines and numbers of both axes. */
function axisLines(x, y, { x: across, y: up }, width) {
  const bottom = HEIGHT - MARGIN.bottom;
  const parts = [];
  const label = (axis, cost) => (cost ? COSTS[cost].show : (value) => figure(value, 3));
  for (const tick of ticksOf(x, Math.max(3, width / 110))) {
    parts.push(draw("line", { class: "rule", x1: x(tick), x2: x(tick), y1: MARGIN.top, y2: bottom }), draw("text", { class: "tick", x: x(tick), y: bottom + 16, "text-anchor": "middle" }, label(x, across.cost)(tick)));
  }
  for (const tick of ticksOf(y, 7)) {
    parts.push(draw("line", { class: "rule", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(tick), y2: y(tick) }), draw("text", { class: "tick", x: MARGIN.left - 8, y: y(tick) + 4, "text-anchor": "end" }, label(y, up.cost)(tick)));
  }
  const name = (axis) => axis.words + (axis.unit && !axis.cost ? ` (${axis.unit})` : "");
  parts.push(draw("text", { class: "axis-name", x: (MARGIN.left + width - MARGIN.right) / 2, y: HEIGHT - 10, "text-anchor": "middle" }, name(across)),
    draw("text", { class: "axis-name", transform: `translate(14 ${(MARGIN.top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, name(up)));
  return parts;
}

/** About so many ticks; of a long logarithmic axis only powers of ten. */
function ticksOf(scale, count) {
  const ticks = scale.ticks(count);
  if (!scale.base) return ticks;
  const powers = ticks.filter((tick) => Math.abs(Math.log10(tick) - Math.round(Math.log10(tick))) < 1e-9);
  if (powers.length > 2) return powers.filter((_, i) => i % Math.ceil(powers.length / count) === 0);
  return ticks.filter((tick) => /^[125]/.test(tick.toExponential()));
}

/** What tells some rows apart: their keys without those that are the same in all of them. */
function distinctKeys(table, rows) {
  const keys = rows.map((row) => rowKeys(table, row));
  const telling = keys[0]?.map((_, i) => new Set(keys.map((key) => key[i])).size > 1) ?? [];
  return keys.map((key) => key.filter((text, i) => text && (telling[i] || !telling.includes(true))).join(" · "));
}
