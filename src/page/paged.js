// A table whose rows come page by page.

import { action, h, show, table } from './dom.js';

/**
 * The table. `page` reads the items after a cursor, as `{ items, next }`; `row` makes an item's cells. Answers its node,
 * `load()`, which reads the next page, and `change(items)`, which takes the items and answers those that there are then.
 */
export function pagedTable({ caption, columns, page, row, empty }) {
  const place = h('div', {});
  const more = action('Older', () => load(), { class: 'quiet' });
  let items = [];
  let next;
  const draw = () => {
    show(place, table(caption, columns, items.map(row), empty));
    more.hidden = !next;
  };
  const load = async () => {
    const read = await page(next ? `?cursor=${encodeURIComponent(next)}` : '');
    items = [...items, ...read.items];
    next = read.next;
    draw();
  };
  return {
    node: [place, more],
    load,
    change(changed) {
      items = changed(items);
      draw();
    },
  };
}
