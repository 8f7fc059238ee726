// Builds what is shown. Text always becomes text, never markup.

const SVG = 'http://www.w3.org/2000/svg';

/** An HTML element. Functions among the attributes are listeners; absent and false ones are left out. */
export function h(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** An SVG element. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') {
      element.addEventListener(name.replace(/^on/, ''), value);
    } else if (value !== undefined && value !== null && value !== false) {
      element.setAttribute(name, value === true ? '' : String(value));
    }
  }
  element.append(...flat(children));
  return element;
}

function flat(children) {
  return children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false);
}

/** Shows these children in the place of those that there are. */
export function show(element, ...children) {
  element.replaceChildren(...flat(children));
  return element;
}

let made = 0;

/** An id that no other element has. */
export function fresh(prefix) {
  made += 1;
  return `${prefix}-${made}`;
}

/** Says something to whoever listens to the page instead of looking at it. */
export function announce(text) {
  document.getElementById('announcements').textContent = text;
}

/** A table with a caption for screen readers. `columns` are texts, or objects with `title` and `numeric`. */
export function table(caption, columns, rows, empty) {
  if (rows.length === 0) {
    return h('p', { class: 'empty' }, empty);
  }
  const head = columns.map((column) => h('th', { scope: 'col', class: column.numeric && 'numeric' }, column.title ?? column));
  const body = rows.map((cells) =>
    h('tr', {}, cells.map((cell, place) => h(place === 0 ? 'th' : 'td', {
      scope: place === 0 ? 'row' : null,
      class: columns[place].numeric && 'numeric',
    }, cell))),
  );
  return h('div', { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': caption },
    h('table', {}, h('caption', { class: 'unseen' }, caption), h('thead', {}, h('tr', {}, head)), h('tbody', {}, body)));
}

/** A section with a heading. */
export function section(title, ...children) {
  const id = fresh('section');
  return h('section', { 'aria-labelledby': id }, h('h2', { id }, title), children);
}

/** Names with values, as a list. */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== undefined && value !== null && value !== '');
  return h('dl', { class: 'facts' }, shown.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value))));
}

/** A word that says how something stands; its colour says it once more. */
export function badge(text, tone) {
  return h('span', { class: `badge ${tone ?? 'plain'}` }, text);
}

/** A message of something that went wrong. */
export function failure(error) {
  return h('div', { class: 'notice bad', role: 'alert' },
    h('strong', {}, error.title ?? 'This did not work'), ' ', error.detail ?? error.message,
    error.requestId && h('span', { class: 'faint' }, ` (request ${error.requestId})`));
}

/** A button that does something and says when it fails, under itself. */
export function action(label, act, attributes = {}) {
  const place = h('span', {});
  const button = h('button', { type: 'button', ...attributes, onclick: async () => {
    if (button.getAttribute('aria-disabled') === 'true') return;
    // Not `disabled`: the focus would be lost.
    button.setAttribute('aria-disabled', 'true');
    show(place);
    try {
      await act();
    } catch (error) {
      show(place, failure(error));
    } finally {
      button.removeAttribute('aria-disabled');
    }
  } }, label);
  return h('span', { class: 'action' }, button, place);
}

/** Asks before something is done that is not easily undone. Answers whether it is to be done. */
export function confirmed(question, detail, yes) {
  return new Promise((answer) => {
    const title = fresh('question');
    const dialog = h('dialog', { 'aria-labelledby': title },
      h('h2', { id: title }, question),
      h('p', {}, detail),
      h('div', { class: 'buttons' },
        h('button', { type: 'button', class: 'danger', onclick: () => dialog.close('yes') }, yes),
        h('button', { type: 'button', class: 'quiet', onclick: () => dialog.close('') }, 'Keep it')));
    dialog.addEventListener('close', () => {
      dialog.remove();
      answer(dialog.returnValue === 'yes');
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
