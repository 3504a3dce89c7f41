(() => {
const root = document.documentElement, key = 'theme';
// Choices of the display, each an attribute of the document. Storage may be unavailable, as in private windows: a choice then
// lasts as long as the page.
const keep = (name, value) => {
  if (value) root.dataset[name] = value; else delete root.dataset[name];
  for (const select of document.querySelectorAll(`[data-kept="${name}"]`)) select.value = value;
  try { if (value) localStorage.setItem(name, value); else localStorage.removeItem(name); } catch {}
};
for (const name of [key, 'density']) try { const value = localStorage.getItem(name); if (value) root.dataset[name] = value; } catch {}
document.addEventListener('DOMContentLoaded', () => {
  for (const select of document.querySelectorAll('[data-kept]')) select.value = root.dataset[select.dataset.kept] ?? '';
});
document.addEventListener('change', ({ target }) => { if (target.dataset.kept) keep(target.dataset.kept, target.value); });
// Small images are enlarged to sharp squares; larger ones are smoothed. `load` events do not bubble, but are captured.
document.addEventListener('load', ({ target }) => {
  if (target.tagName === 'IMG') target.classList.toggle('pixels', target.naturalWidth <= 128);
}, true);
const toggleTheme = () => {
  const theme = root.dataset.theme || (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
  keep(key, theme === 'dark' ? 'light' : 'dark');
};
// Without TLS there is no clipboard interface.
const copyBySelection = text => {
  const area = document.createElement('textarea');
  area.value = text;
  area.style.cssText = 'position:fixed;opacity:0';
  document.body.append(area);
  area.select();
  const done = document.execCommand('copy');
  area.remove();
  return done;
};
const copy = async button => {
  const code = button.parentElement.querySelector('code, pre');
  let done;
  try { await navigator.clipboard.writeText(code.textContent); done = true; }
  catch { done = copyBySelection(code.textContent); button.focus(); }
  if (!done) getSelection().selectAllChildren(code);
  button.textContent = done ? 'Copied' : 'Selected';
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
};
document.addEventListener('click', ({ target }) => {
  const button = target.closest('[data-theme-toggle], [data-copy]');
  if (!button) return;
  if ('copy' in button.dataset) copy(button); else toggleTheme();
});
})();
