'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const at = (id) => document.getElementById(id);
const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const level = Object.fromEntries([...digits].map((c, i) => [c, i]));
const percent = (x) => (100 * x).toFixed(1) + '%';
const isAdded = (text, i) => i === 0 || i === text.tokens.length - 1;
let text, chosen, zoomed = false;

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// The weight of one pair of tokens; levels are square roots.
function weight(head, from, to) {
  const x = level[head[from * text.tokens.length + to]] / 63;
  return x * x;
}

function showAnswer() {
  at('answer').replaceChildren(...text.probabilities.map((p, c) => {
    const bar = element('i');
    bar.style.width = percent(p);
    return element('div', {className: c === text.predicted ? 'bar best' : 'bar'}, element('span', {textContent: data.labels[c]}),
      bar, element('span', {textContent: percent(p)}));
  }));
  if (text.truncated) at('answer').append(element('p', {className: 'small', textContent: 'The text is longer than what the model reads.'}));
}

function showTokens(place, values, colour, tell) {
  at(place).replaceChildren(...text.tokens.map((token, i) => {
    const span = element('span', {textContent: token, title: tell(values[i])});
    if (isAdded(text, i)) span.className = 'added';
    if (text.continues[i]) span.className = 'continues';
    span.style.background = colour(values[i]);
    return span;
  }));
}

function showWeights() {
  if (text.pooling.length > 0) {
    const most = Math.max(...text.pooling, 3 / text.pooling.length);  // weights that are all alike stay pale
    showTokens('pooling', text.pooling, (w) => `rgba(37, 99, 235, ${0.75 * w / most})`, percent);
  } else {
    at('pooling').textContent = 'This pooling gives the tokens no weights.';
  }
  const largest = Math.max(...text.contributions.map(Math.abs), 1e-9);
  const label = data.labels[text.predicted];
  showTokens('gradients', text.contributions,
    (c) => c > 0 ? `rgba(22, 130, 60, ${0.75 * c / largest})` : `rgba(200, 40, 40, ${-0.75 * c / largest})`,
    (c) => (c >= 0 ? '+' : '') + c.toFixed(3));
  at('sum').textContent = `Green speaks for “${label}”, red against it. Seeing the words changes its log odds by ` +
    `${text.difference.toFixed(2)}; the contributions account for all of that but ${Math.abs(text.residue).toFixed(3)}.`;
}

// A head as a picture: one pixel per pair.
function paint(canvas, head) {
  const n = text.tokens.length;
  canvas.width = canvas.height = n;
  const context = canvas.getContext('2d'), image = context.createImageData(n, n);
  for (let i = 0; i < n * n; ++i) {
    const x = level[head[i]] / 63;
    image.data.set([255 - 218 * x, 255 - 156 * x, 255 - 20 * x, 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

function showGrid() {
  at('layers').hidden = text.attention.length === 0;
  if (text.attention.length === 0) return;
  const heads = text.attention[0].length, cells = [element('span', {textContent: 'head'})];
  at('grid').style.gridTemplateColumns = `auto repeat(${heads}, minmax(14px, 76px))`;
  for (let h = 0; h < heads; ++h) cells.push(element('span', {textContent: h}));
  text.attention.forEach((layer, l) => {
    cells.push(element('span', {textContent: `layer ${l}`}));
    layer.forEach((head, h) => {
      const canvas = element('canvas');
      paint(canvas, head);
      const button = element('button', {title: `layer ${l}, head ${h}`, onclick: () => choose(l, h)}, canvas);
      button.id = `head-${l}-${h}`;
      cells.push(button);
    });
  });
  at('grid').replaceChildren(...cells);
  choose(text.attention.length - 1, 0);
}

function choose(l, h) {
  for (const button of document.querySelectorAll('#grid button')) button.setAttribute('aria-pressed', button.id === `head-${l}-${h}`);
  chosen = text.attention[l][h];
  at('chosen').textContent = `Layer ${l}, head ${h}`;
  paint(at('matrix'), chosen);
  zoom(false);
  drawLines(-1);
}

// The matrix as large as there is room for, beside the lines or below them; or with a cell for every fingertip.
function zoom(large) {
  const room = at('large').clientWidth, beside = room - at('lines').clientWidth - 24;
  const fitting = Math.min(beside >= 420 ? beside : room - 2, 640, Math.max(420, 10 * text.tokens.length));
  zoomed = large;
  at('matrix').style.width = at('matrix').style.height = (large ? Math.max(fitting, 14 * text.tokens.length) : fitting) + 'px';
  at('matrix').style.cursor = large ? 'zoom-out' : 'zoom-in';
}

function svg(name, attributes, content) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (content !== undefined) made.textContent = content;
  return made;
}

// The head view: who looks on the left, at whom on the right. `from` < 0 shows all tokens' lines.
function drawLines(from) {
  const n = text.tokens.length, row = 17, lines = at('lines'), width = Math.min(450, at('large').clientWidth - 2);
  const left = width / 3, right = 2 * width / 3, letters = Math.floor(width / 25);
  lines.setAttribute('width', width);
  lines.setAttribute('height', n * row + 8);
  const parts = [];
  for (let i = from < 0 ? 0 : from; i < (from < 0 ? n : from + 1); ++i) {
    for (let j = 0; j < n; ++j) {
      const w = weight(chosen, i, j);
      if (w < (from < 0 ? 0.1 : 0.01)) continue;  // thousands of faint lines hide the others
      parts.push(svg('line', {x1: left + 6, y1: i * row + 10, x2: right - 6, y2: j * row + 10, stroke: '#2563eb',
        'stroke-width': 2.5, 'stroke-opacity': w}));
    }
  }
  const short = (token) => token.length > letters ? token.slice(0, letters - 1) + '…' : token;
  text.tokens.forEach((token, i) => {
    const looking = svg('text', {x: left, y: i * row + 14, 'text-anchor': 'end'}, short(token));
    if (i === from) looking.setAttribute('class', 'on');
    looking.onmouseenter = looking.onclick = () => { if (i !== from) drawLines(i); };
    parts.push(looking, svg('text', {x: right, y: i * row + 14}, short(token) + (from >= 0 && weight(chosen, from, i) >= 0.01 ?
      `  ${percent(weight(chosen, from, i))}` : '')));
  });
  lines.replaceChildren(...parts);
  at('cell').textContent = from < 0 ? '\u00a0' : mostLookedAt(from);
}

// In words, since what a token looks at may have been scrolled away.
function mostLookedAt(from) {
  const order = text.tokens.map((_, to) => to).sort((a, b) => weight(chosen, from, b) - weight(chosen, from, a));
  return `“${text.tokens[from]}” looks at ` + order.slice(0, 5).map((to) => `“${text.tokens[to]}” ${percent(weight(chosen, from, to))}`).join(', ');
}

at('lines').onmouseleave = () => drawLines(-1);
at('matrix').onclick = () => zoom(!zoomed);
window.onresize = () => { zoom(zoomed); drawLines(-1); };
at('matrix').onmousemove = (event) => {
  const n = text.tokens.length, box = at('matrix').getBoundingClientRect();
  const to = Math.min(n - 1, Math.floor((event.clientX - box.left) / box.width * n));
  const from = Math.min(n - 1, Math.floor((event.clientY - box.top) / box.height * n));
  at('cell').textContent = `“${text.tokens[from]}” gives “${text.tokens[to]}” about ${percent(weight(chosen, from, to))} of its attention`;
};

function show(i) {
  text = data.texts[i];
  showAnswer();
  showWeights();
  showGrid();
}

at('facts').append(...data.facts.map(([name, value]) => element('div', {}, element('dt', {textContent: name}), element('dd', {textContent: value}))));
at('choice').hidden = data.texts.length < 2;
at('which').append(...data.texts.map((t, i) => element('option', {value: i, textContent:
  `${i + 1}. ${data.labels[t.predicted]}: ${t.tokens.slice(1, 14).join(' ')}${t.tokens.length > 15 ? ' …' : ''}`})));
at('which').onchange = () => show(Number(at('which').value));
show(0);
