// Checks the form of a new run while it is filled in: what the button "Check" does, without a reload.
import { takeParts } from './parts.js';

const form = document.querySelector('.spec-form');
const said = document.querySelector('[data-check]');
// After the last change, in milliseconds.
const PAUSE = 400;
let timer, running;

const check = async () => {
  running?.abort();
  running = new AbortController();
  const body = new URLSearchParams(new FormData(form));
  body.set('action', 'check');
  try {
    const answer = await fetch(form.action, { method: 'POST', body, headers: { Accept: 'text/html' }, signal: running.signal });
    const page = takeParts(await answer.text());
    // The fields keep what was entered; only whether it is wrong is new.
    for (const field of form.querySelectorAll('[aria-describedby]')) {
      const fresh = page.getElementById(field.id);
      field.toggleAttribute('aria-invalid', false);
      if (fresh?.hasAttribute('aria-invalid')) field.setAttribute('aria-invalid', 'true');
    }
    const text = page.getElementById('toml');
    if (text) document.getElementById('toml').value = text.value;
    said.textContent = '';
  } catch (problem) {
    if (problem.name !== 'AbortError') said.textContent = 'The settings could not be checked: the connection is lost.';
  }
};
form.addEventListener('input', ({ target }) => {
  // The text is read into the fields by its button.
  if (target.id === 'toml') return;
  clearTimeout(timer);
  timer = setTimeout(check, PAUSE);
});
