// Checks the form of a new run while it is filled in: what the button "Check" does, without a reload.
import { takeParts } from './parts.js';

const form = document.querySelector('.spec-form');
const said = document.querySelector('[data-check]');
const toml = document.getElementById('toml');
// After the last change, in milliseconds.
const PAUSE = 400;
// `written`: the text as the server wrote it. One that was pasted stays.
let timer, running, written = toml.value;

const check = async () => {
  running?.abort();
  running = new AbortController();
  const body = new URLSearchParams(new FormData(form));
  body.set('action', 'check');
  try {
    // Its buttons are named `action`, and hide the form's own property of this name.
    const answer = await fetch(form.getAttribute('action'), { method: 'POST', body, headers: { Accept: 'text/html' }, signal: running.signal });
    const page = takeParts(await answer.text());
    // The fields keep what was entered; only whether it is wrong is new.
    for (const field of form.querySelectorAll('[aria-describedby]')) {
      const fresh = page.getElementById(field.id);
      field.toggleAttribute('aria-invalid', false);
      if (fresh?.hasAttribute('aria-invalid')) field.setAttribute('aria-invalid', 'true');
    }
    const text = page.getElementById('toml');
    if (text && toml.value === written) toml.value = written = text.value;
    said.textContent = '';
  } catch (problem) {
    if (problem.name !== 'AbortError') said.textContent = 'The settings could not be checked: the connection is lost.';
  }
};
form.addEventListener('input', ({ target }) => {
  // The text is read into the fields by its button.
  if (target === toml) return;
  clearTimeout(timer);
  timer = setTimeout(check, PAUSE);
});
