// The form of the Generate page: one request per prompt, seed and model, a row of images per prompt and seed. The server checks
// the fields; what it refuses is shown beside them.
const form = document.querySelector('[data-generate]');
const results = document.querySelector('.results');
const status = form.querySelector('[data-progress]');
const cancel = form.querySelector('[data-cancel]');
const most = 64;
const field = name => form.elements.namedItem(name);
const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};
const random = () => Math.floor(Math.random() * 2 ** 32);
const ticket = () => [...crypto.getRandomValues(new Uint8Array(16))].map(byte => byte.toString(16).padStart(2, '0')).join('');

const problems = list => {
  for (const place of form.querySelectorAll('[data-problem]')) {
    // A problem of a list item (`lora[0].scale`) belongs to its list.
    place.textContent = list.find(({ field }) => field.split(/[.[]/)[0] === place.dataset.problem)?.message ?? '';
  }
  if (list.length) form.querySelector('.field-problem:not(:empty)')?.scrollIntoView({ block: 'nearest' });
};
const textOf = async response => {
  try { return (await response.json()).error; } catch { return { message: `The server responded with status ${response.status}.`, fields: [] }; }
};

// What the form asks for: the body that all requests share, prompts, seeds and models; or problems.
const asked = () => {
  const found = [], body = {};
  const add = (field, message) => found.push({ field, message });
  for (const name of ['negative_prompt', 'steps', 'guidance_scale', 'width', 'height', 'sampler']) {
    const text = field(name).value.trim();
    if (!text) continue;
    const isNumber = !['negative_prompt', 'sampler'].includes(name);
    if (isNumber && !/^-?\d+(\.\d+)?$/.test(text)) add(name, `${JSON.stringify(text)} is not a number.`);
    body[name] = isNumber ? Number(text) : text;
  }
  const adapters = field('lora').value.split(',').map(part => part.trim()).filter(Boolean);
  if (adapters.length) body.lora = adapters.map(part => {
    const [, model, scale] = /^(.*?)(?::([^:]*))?$/.exec(part);
    if (scale !== undefined && !Number.isFinite(parseFloat(scale))) add('lora', `${JSON.stringify(scale)} is not a number.`);
    return { model: model.trim(), scale: scale === undefined ? 1 : Number(scale) };
  });
  const text = field('prompt').value;
  const isList = form.querySelector('[data-lines]').checked;
  const prompts = isList ? text.split('\n').map(line => line.trim()).filter(Boolean) : [text];
  if (!prompts.some(prompt => prompt.trim())) add('prompt', 'is empty: describe the image');
  const seed = field('seed').value.trim(), count = field('seeds').value.trim();
  if (!/^(-1|\d+)?$/.test(seed)) add('seed', `${JSON.stringify(seed)} is not a whole number from 0 on, or -1 for a random one.`);
  if (!/^\d+$/.test(count) || Number(count) < 1) add('seeds', 'use a whole number from 1 on');
  const models = [...form.querySelectorAll('[data-model]:checked')].map(box => box.value);
  if (!models.length) add('model', 'Select at least one model.');
  if (prompts.length * Number(count) * models.length > most) add('seeds', `this asks for more than ${most} images: use fewer seeds, prompts or models`);
  if (found.length) return { found };
  // Drawn here, so that all models of a row use it.
  if (seed === '' || seed === '-1') field('seed').value = random();
  const first = Number(field('seed').value);
  return { body, prompts, models, seeds: Array.from({ length: Number(count) }, (_, index) => first + index) };
};

let work;
const say = () => {
  if (!work) return;
  const { done, total, place } = work;
  const where = !place ? '' : !place.running ? (place.ahead ? `; ${place.ahead} before the next one` : '; waiting')
    : place.steps ? `; step ${place.step} of ${place.steps}` : '';
  status.textContent = `${done} of ${total} images${where}`;
};
const follow = async mine => {
  while (work === mine) {
    await new Promise(done => setTimeout(done, 400));
    const next = [...mine.tickets][0];
    if (work !== mine || !next || document.hidden) continue;
    const response = await fetch(`/api/v1/generations/${next}`).catch(() => null);
    if (work !== mine) return;
    mine.place = response?.status === 200 ? await response.json() : undefined;
    say();
  }
};

const note = message => element('div', { className: 'note bad', role: 'alert' }, element('p', { textContent: message }));
// Fills the place of an image. A full queue is tried again.
const draw = async (mine, body, figure) => {
  while (!mine.cancelled) {
    const name = ticket();
    mine.tickets.add(name);
    const response = await fetch('/generate', {
      method: 'POST', headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
      body: JSON.stringify({ ...body, ticket: name }),
    }).catch(() => null);
    mine.tickets.delete(name);
    if (mine.cancelled) break;
    if (response?.status === 429) { await new Promise(done => setTimeout(done, 2000)); continue; }
    if (!response) return figure.replaceChildren(note('No response from the server. Check that it is running.'), figure.lastChild);
    if (!response.ok) {
      const { message, fields } = await textOf(response);
      if (fields?.length) { problems(fields); mine.cancelled = true; return figure.remove(); }
      return figure.replaceChildren(note(message), figure.lastChild);
    }
    const { images, cut, params, seconds, model } = await response.json();
    const { steps, sampler, guidance_scale: guidance } = params;
    const title = `${model}, seed ${params.seed}, ${steps} steps, ${sampler}, guidance ${guidance}, ${seconds.toFixed(1)} s`;
    const links = images.map(({ id }) => {
      const link = element('a', { href: `/api/v1/images/${id}/file`, title }, element('img', { src: `/api/v1/images/${id}/file`, alt: body.prompt }));
      link.dataset.zoom = '';
      return link;
    });
    const unread = (cut ?? []).map(({ field, text, tokens }) => element('p', {
      className: 'soft', textContent: `The model did not read the end of the ${field.replace('_', ' ')} (${tokens} tokens): “${text}”`,
    }));
    figure.replaceChildren(...links, ...unread, figure.lastChild);
    mine.done += 1;
    return say();
  }
  figure.remove();
};

const row = (prompt, seed, models) => {
  const images = element('div', { className: 'images' });
  const figures = models.map(model => {
    const waiting = element('div', { className: 'waiting' }, element('span', { className: 'visually-hidden', textContent: 'Generating' }));
    const figure = element('figure', { className: 'image' }, waiting, element('figcaption', {}, element('a', { href: `/models#${model}`, textContent: model })));
    images.append(figure);
    return figure;
  });
  const head = element('header', {}, element('p', { className: 'prompt', textContent: prompt }), element('p', { className: 'soft', textContent: `seed ${seed}` }));
  const article = element('article', { className: 'result-row' }, head, images);
  results.querySelector('.placeholder')?.remove();
  results.prepend(article);
  return { article, figures };
};

// The history with the new images, as the server renders it.
const refresh = async () => {
  const response = await fetch('/playground').catch(() => null);
  if (!response?.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), 'text/html');
  const history = page.querySelector('#history');
  if (history) document.querySelector('#history').replaceWith(history);
};

form.addEventListener('submit', async event => {
  event.preventDefault();
  if (work) return;
  const { found, body, prompts, seeds, models } = asked();
  problems(found ?? []);
  if (found) return;
  const mine = work = { done: 0, total: prompts.length * seeds.length * models.length, tickets: new Set(), cancelled: false };
  cancel.hidden = false;
  say();
  follow(mine);
  for (const prompt of prompts) {
    for (const seed of seeds) {
      if (mine.cancelled) break;
      const { article, figures } = row(prompt, seed, models);
      await Promise.all(models.map((model, index) => draw(mine, { ...body, prompt, seed, model }, figures[index])));
      if (!article.querySelector('figure')) article.remove();
    }
  }
  work = undefined;
  cancel.hidden = true;
  status.textContent = mine.done === mine.total ? '' : `${mine.done} of ${mine.total} images`;
  await refresh();
});
cancel.addEventListener('click', () => {
  if (!work) return;
  work.cancelled = true;
  for (const name of work.tickets) fetch(`/api/v1/generations/${name}`, { method: 'DELETE' });
});
form.querySelector('[data-new-seed]').addEventListener('click', () => { field('seed').value = random(); });
form.dataset.hydrated = '';
