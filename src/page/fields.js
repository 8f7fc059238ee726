// Fields for the values of a JSON Schema. Each answers `node`, `read()` (undefined where nothing is given) and
// `write(value)`. What a schema says that no field can show is checked by the gateway.

import { fresh, h, show } from './dom.js';

const LINE_MAX_CHARS = 200;
const DEPTH_MAX = 6;
const TYPES_BY_FORMAT = { date: 'date', time: 'time', email: 'email', uri: 'url' };

/** The field of a value. `about` has its name, its JSON Pointer, whether it must be there, and the schema's root. */
export function field(schema, about) {
  const whole = resolved(schema, about.root);
  const depth = about.depth ?? 0;
  const own = { ...about, depth, label: about.label ?? whole.title ?? about.name };
  if (depth >= DEPTH_MAX) return jsonField(whole, own);
  const choices = whole.oneOf ?? whole.anyOf;
  if (choices && !whole.properties) return choiceField(whole, choices, own);
  if ('const' in whole) return constantField(whole, own);
  if (whole.enum) return enumField(whole, own);
  switch (typeOf(whole)) {
    case 'string': return textField(whole, own);
    case 'integer':
    case 'number': return numberField(whole, own);
    case 'boolean': return booleanField(whole, own);
    case 'array': return whole.items ? arrayField(whole, own) : jsonField(whole, own);
    case 'object': return whole.properties ? objectField(whole, own) : jsonField(whole, own);
    default: return jsonField(whole, own);
  }
}

/** The schema with what it refers to; what stands beside a reference wins. */
function resolved(schema, root, seen = 0) {
  if (schema === true || schema === undefined || seen > DEPTH_MAX) return {};
  if (typeof schema.$ref !== 'string') return schema;
  const found = schema.$ref.startsWith('#/')
    ? schema.$ref.slice(2).split('/').reduce((at, part) => at?.[part.replaceAll('~1', '/').replaceAll('~0', '~')], root)
    : {};
  const { $ref, ...beside } = schema;
  return { ...resolved(found, root, seen + 1), ...beside };
}

function typeOf(schema) {
  const types = [schema.type].flat().filter((type) => type !== 'null');
  if (types.length === 1 && types[0]) return types[0];
  return schema.properties ? 'object' : undefined;
}

/** A control with its label, its description, and a place for what is wrong with it. */
function labelled(schema, about, control) {
  const [id, help, wrong] = [fresh('field'), fresh('help'), fresh('wrong')];
  control.id = id;
  control.setAttribute('aria-describedby', `${schema.description ? `${help} ` : ''}${wrong}`);
  if (about.required) control.required = true;
  return h('div', { class: 'field', 'data-at': about.at },
    h('label', { for: id }, about.label, !about.required && h('span', { class: 'faint' }, ' optional')),
    control,
    schema.description && h('p', { class: 'help', id: help }, schema.description),
    h('p', { class: 'wrong', id: wrong, 'data-wrong': about.at }));
}

function textField(schema, about) {
  const limits = { minlength: about.required ? schema.minLength : null, maxlength: schema.maxLength, spellcheck: 'false' };
  const short = schema.format || schema.pattern || (schema.maxLength ?? Infinity) <= LINE_MAX_CHARS;
  const control = short
    ? h('input', { type: TYPES_BY_FORMAT[schema.format] ?? 'text', pattern: schema.pattern && `.*(?:${schema.pattern}).*`, placeholder: schema.format === 'date-time' ? '2026-11-24T12:00:00Z' : null, ...limits })
    : h('textarea', { rows: 4, ...limits });
  const write = (value) => { control.value = value ?? ''; };
  write(schema.default);
  return {
    node: labelled(schema, about, control),
    read: () => (control.value === '' && !about.required ? undefined : control.value),
    write,
  };
}

function numberField(schema, about) {
  const step = typeOf(schema) === 'integer' ? (schema.multipleOf ?? 1) : 'any';
  const control = h('input', { type: 'number', inputmode: 'decimal', step, min: schema.minimum, max: schema.maximum });
  const write = (value) => { control.value = value ?? ''; };
  write(schema.default);
  return {
    node: labelled(schema, about, control),
    read: () => (control.value === '' ? undefined : Number(control.value)),
    write,
  };
}

function booleanField(schema, about) {
  return selectField(schema, about, [['yes', true], ['no', false]]);
}

function enumField(schema, about) {
  return selectField(schema, about, schema.enum.map((value) => [typeof value === 'string' ? value : JSON.stringify(value), value]));
}

function selectField(schema, about, options) {
  const control = h('select', {},
    h('option', { value: '' }, about.required ? 'Choose …' : '–'),
    options.map(([text], place) => h('option', { value: place }, text)));
  const write = (value) => {
    const place = options.findIndex(([, own]) => JSON.stringify(own) === JSON.stringify(value));
    control.value = place < 0 ? '' : String(place);
  };
  write(schema.default);
  return {
    node: labelled(schema, about, control),
    read: () => (control.value === '' ? undefined : options[Number(control.value)][1]),
    write,
  };
}

function constantField(schema, about) {
  const node = h('p', {}, `${about.label}: `, h('code', {}, JSON.stringify(schema.const)));
  return { node, read: () => schema.const, write() {} };
}

/** For what has no better field: JSON, as it is. */
function jsonField(schema, about) {
  const control = h('textarea', { rows: 3, class: 'code', spellcheck: 'false', placeholder: 'JSON' });
  const write = (value) => { control.value = value === undefined ? '' : JSON.stringify(value, null, 2); };
  write(schema.default);
  return {
    node: labelled(schema, about, control),
    read() {
      if (control.value.trim() === '') return undefined;
      try {
        return JSON.parse(control.value);
      } catch (error) {
        throw Object.assign(new Error(`${about.label}: this is no JSON (${error.message})`), { control });
      }
    },
    write,
  };
}

function objectField(schema, about) {
  const required = schema.required ?? [];
  const fields = Object.entries(schema.properties).map(([name, property]) => [name, field(property, {
    root: about.root,
    name,
    at: `${about.at}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`,
    required: required.includes(name) && about.required,
    depth: about.depth + 1,
  })]);
  const nodes = fields.map(([, own]) => own.node);
  return {
    node: about.at === '' ? h('div', { class: 'fields' }, nodes) : group(schema, about, nodes),
    read() {
      const value = {};
      for (const [name, own] of fields) {
        const part = own.read();
        if (part !== undefined) value[name] = part;
      }
      return Object.keys(value).length === 0 && !about.required ? undefined : value;
    },
    write: (value) => fields.forEach(([name, own]) => own.write(value?.[name])),
  };
}

function arrayField(schema, about) {
  const list = h('ol', { class: 'items' });
  let items = [];
  const add = (value) => {
    const own = field(schema.items, {
      root: about.root,
      name: `${about.label} ${items.length + 1}`,
      at: `${about.at}/${items.length}`,
      required: true,
      depth: about.depth + 1,
    });
    const remove = h('button', { type: 'button', class: 'quiet', 'aria-label': `Remove item ${items.length + 1} of ${about.label}`, onclick: () => {
      // Made anew, for the names and places of those behind it change.
      write(items.filter((item) => item !== own).map((item) => item.read()));
      more.focus();
    } }, 'Remove');
    items.push(own);
    list.append(h('li', {}, own.node, remove));
    if (value !== undefined) own.write(value);
    return own;
  };
  const write = (value) => {
    items = [];
    list.replaceChildren();
    for (const item of Array.isArray(value) ? value : []) add(item);
  };
  const more = h('button', { type: 'button', class: 'quiet', onclick: () => {
    add().node.querySelector('input, select, textarea')?.focus();
  } }, `Add to ${about.label}`);
  return {
    node: group(schema, about, [list, more]),
    read: () => (items.length === 0 && !about.required ? undefined : items.map((item) => item.read())),
    write,
  };
}

/** One of several shapes: which one, and its fields. */
function choiceField(schema, choices, about) {
  const names = choices.map((choice, place) => {
    const whole = resolved(choice, about.root);
    return whole.title ?? (('const' in whole) ? String(whole.const) : `${typeOf(whole) ?? 'shape'} ${place + 1}`);
  });
  const place = h('div', {});
  let chosen;
  const choose = (index) => {
    chosen = index === '' ? undefined : field(choices[Number(index)], { ...about, label: names[Number(index)], required: true, depth: about.depth + 1 });
    show(place, chosen?.node);
  };
  const control = h('select', { onchange: () => choose(control.value) },
    !about.required && h('option', { value: '' }, '–'),
    names.map((name, index) => h('option', { value: index }, name)));
  choose(control.value);
  return {
    node: h('div', { class: 'fields' }, labelled(schema, about, control), place),
    read: () => chosen?.read(),
    write(value) {
      const index = choices.findIndex((choice) => fits(resolved(choice, about.root), value));
      control.value = value === undefined ? control.options[0].value : String(Math.max(index, 0));
      choose(control.value);
      if (value !== undefined) chosen?.write(value);
    },
  };
}

/** Whether a value looks like one of this schema: enough to choose a form by. */
function fits(schema, value) {
  if ('const' in schema) return JSON.stringify(schema.const) === JSON.stringify(value);
  const type = value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value;
  const own = [schema.type ?? (schema.properties ? 'object' : type)].flat().map((name) => (name === 'integer' ? 'number' : name));
  if (!own.includes(type)) return false;
  if (type !== 'object') return true;
  const constants = Object.entries(schema.properties ?? {}).filter(([, property]) => 'const' in property);
  return (schema.required ?? []).every((name) => name in value) && constants.every(([name, property]) => value[name] === property.const);
}

function group(schema, about, nodes) {
  const wrong = fresh('wrong');
  return h('fieldset', { 'data-at': about.at, 'aria-describedby': wrong },
    h('legend', {}, about.label, !about.required && h('span', { class: 'faint' }, ' optional')),
    schema.description && h('p', { class: 'help' }, schema.description),
    h('p', { class: 'wrong', id: wrong, 'data-wrong': about.at }),
    nodes);
}
