/** Clusters renumbered 0, 1, ... by first appearance; `order[c]` is the old number of new cluster c. */
export function byFirstAppearance(clusters: ArrayLike<number>): { assign: Int16Array; order: number[] } {
  const assign = new Int16Array(clusters.length);
  const order: number[] = [];
  const places = new Map<number, number>();
  for (let i = 0; i < clusters.length; i++) {
    const old = clusters[i]!;
    let place = places.get(old);
    if (place === undefined) {
      place = order.length;
      places.set(old, place);
      order.push(old);
    }
    assign[i] = place;
  }
  return { assign, order };
}
