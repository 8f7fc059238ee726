// A form for a JSON Schema, with the raw JSON as its other side.

import { fresh, h } from './dom.js';
import { field } from './fields.js';

/** A form. `submitted` is told the value; what it throws is shown at the fields that it is about. */
export function schemaForm(schema, { submitted, label, children }) {
  const fields = field(schema, { root: schema, name: 'input', label: 'Input', at: '', required: true });
  const raw = h('textarea', { class: 'code', rows: 12, spellcheck: 'false', id: fresh('raw') });
  const problem = h('p', { class: 'wrong', role: 'alert', 'data-wrong': '' });
  const panels = [
    h('div', {}, fields.node),
    h('div', { hidden: true }, h('div', { class: 'field' }, h('label', { for: raw.id }, 'Input as JSON'), raw)),
  ];
  let side = 0;
  const tabs = tabList('Ways to give the input', ['Form', 'JSON'], panels, (wanted) => {
    if (wanted === side) return true;
    problem.textContent = '';
    try {
      if (wanted === 1) raw.value = JSON.stringify(fields.read() ?? null, null, 2);
      else fields.write(JSON.parse(raw.value));
    } catch (error) {
      problem.textContent = wanted === 1 ? error.message : `This is no JSON: ${error.message}`;
      return false;
    }
    side = wanted;
    return true;
  });
  const read = () => {
    if (side === 0) return fields.read();
    try {
      return JSON.parse(raw.value);
    } catch (error) {
      throw new Error(`This is no JSON: ${error.message}`);
    }
  };
  const button = h('button', { type: 'submit' }, label);
  const form = h('form', { onsubmit: async (event) => {
    event.preventDefault();
    clear(form);
    if (button.getAttribute('aria-disabled') === 'true') return;
    // Not `disabled`: the focus would be lost.
    button.setAttribute('aria-disabled', 'true');
    try {
      await submitted(read());
    } catch (error) {
      mark(form, side, error, problem);
    } finally {
      button.removeAttribute('aria-disabled');
    }
  } }, tabs, panels, problem, h('div', { class: 'buttons' }, button, children));
  return {
    node: form,
    write(value) {
      clear(form);
      fields.write(value);
      raw.value = JSON.stringify(value, null, 2);
    },
  };
}

/** Says at each field what is wrong there, and goes to the first one. */
function mark(form, side, error, problem) {
  let first;
  const elsewhere = [];
  for (const violation of error.errors ?? []) {
    const at = violation.instance.replace(/^\/input/, '');
    const place = side === 0 && at !== '' ? form.querySelector(`[data-wrong="${CSS.escape(at)}"]`) : null;
    if (!place) {
      elsewhere.push(`${at || 'input'}: ${violation.message}`);
      continue;
    }
    place.textContent = violation.message;
    const control = form.querySelector(`[data-at="${CSS.escape(at)}"]`)?.querySelector('input, select, textarea, button');
    control?.setAttribute('aria-invalid', 'true');
    first ??= control;
  }
  if (elsewhere.length > 0 || !first) problem.textContent = elsewhere.join(' ') || error.detail || error.message;
  (first ?? error.control)?.focus();
}

function clear(form) {
  for (const place of form.querySelectorAll('[data-wrong]')) place.textContent = '';
  for (const control of form.querySelectorAll('[aria-invalid]')) control.removeAttribute('aria-invalid');
}

/** Tabs over panels (the pattern of WAI-ARIA): arrows move between them. `change` answers whether it may be. */
export function tabList(label, names, panels, change = () => true) {
  const tabs = names.map((name, place) => {
    panels[place].id = fresh('panel');
    panels[place].setAttribute('role', 'tabpanel');
    panels[place].setAttribute('aria-label', name);
    return h('button', {
      type: 'button',
      role: 'tab',
      'aria-controls': panels[place].id,
      'aria-selected': place === 0,
      tabindex: place === 0 ? 0 : -1,
      onclick: () => select(place),
      onkeydown: (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        const next = (place + step + tabs.length) % tabs.length;
        if (select(next)) tabs[next].focus();
      },
    }, name);
  });
  function select(wanted) {
    if (!change(wanted)) return false;
    tabs.forEach((tab, place) => {
      tab.setAttribute('aria-selected', String(place === wanted));
      tab.tabIndex = place === wanted ? 0 : -1;
      panels[place].hidden = place !== wanted;
    });
    return true;
  }
  tabs.forEach((tab, place) => tab.setAttribute('aria-selected', String(place === 0)));
  return h('div', { role: 'tablist', class: 'tabs', 'aria-label': label }, tabs);
}
