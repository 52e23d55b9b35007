// The Pareto front: the points that no other point beats in one of two columns without losing in the other.

/** Which of the points are on the front, as a set of their places; `better` is 1 where higher is better, else -1. */
function paretoFront(points, betterX, betterY) {
  const order = points.map((_, i) => i).sort((a, b) => betterX * (points[b].x - points[a].x) || betterY * (points[b].y - points[a].y));
  const front = new Set();
  let best = null;
  for (const i of order) {
    const point = points[i];
    const level = best && point.x === best.x && point.y === best.y;
    if (!best || betterY * (point.y - best.y) > 0 || level) {
      front.add(i);
      best = point;
    }
  }
  return front;
}
