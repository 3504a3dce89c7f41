// The search of the documentation. The index is loaded when the field is first used.
const field = document.getElementById('book-search');
const list = document.querySelector('.book-results');
field.disabled = false;

let index;
const script = address => new Promise((done, failed) => {
  const element = Object.assign(document.createElement('script'), { src: address, onload: done, onerror: failed });
  document.head.append(element);
});
// The index adds to it.
window.search ??= {};
const load = () => index ??= Promise.all([script('/help/elasticlunr.min.js'), script('/help/searchindex.js')])
  .then(() => window.elasticlunr.Index.load(window.search.index));

// About thirty words around the first word that was found.
const excerpt = (body, words) => {
  const all = body.split(/\s+/);
  const at = all.findIndex(word => words.some(wanted => word.toLowerCase().includes(wanted)));
  const from = Math.max(0, at - 8);
  return (from ? '… ' : '') + all.slice(from, from + 30).join(' ') + (all.length > from + 30 ? ' …' : '');
};

const show = async () => {
  const text = field.value.trim();
  const found = text.length < 2 ? [] : (await load()).search(text, {
    bool: 'AND', expand: true, fields: { title: { boost: 3 }, body: { boost: 1 }, breadcrumbs: { boost: 1 } },
  });
  if (field.value.trim() !== text) return;
  const words = text.toLowerCase().split(/\s+/);
  const items = found.slice(0, 12).map(({ ref, doc }) => {
    const item = document.createElement('li');
    const link = document.createElement('a');
    link.href = '/help/' + window.search.doc_urls[ref];
    link.textContent = doc.breadcrumbs.replaceAll(' » ', ' › ');
    const about = document.createElement('p');
    about.textContent = excerpt(doc.body, words);
    item.append(link, about);
    return item;
  });
  if (text.length >= 2 && !items.length) {
    const none = document.createElement('li');
    none.textContent = `Nothing found for “${text}”.`;
    items.push(none);
  }
  list.replaceChildren(...items);
};

field.addEventListener('focus', load, { once: true });
field.addEventListener('input', show);
document.addEventListener('keydown', event => {
  if (event.key === '/' && !/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName)) {
    event.preventDefault();
    field.focus();
  }
  if (event.key === 'Escape' && document.activeElement === field) { field.value = ''; show(); }
});
const asked = new URLSearchParams(location.search).get('q');
if (asked) { field.value = asked; show(); }
