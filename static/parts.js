// Parts of a page that become like those of another document, without a reload.

// Rows with keys keep their elements, and with them the focus.
const rows = (old, fresh) => {
  const kept = new Set([...fresh.children].map(row => row.dataset.key));
  for (const row of [...old.children]) if (!kept.has(row.dataset.key)) row.remove();
  const known = new Map([...old.children].map(row => [row.dataset.key, row]));
  let place = old.firstElementChild;
  for (const row of [...fresh.children]) {
    const mine = known.get(row.dataset.key);
    if (mine && mine === place) place = place.nextElementSibling;
    else old.insertBefore(mine || row, place);
    if (mine) become(mine, row);
  }
};
const become = (old, fresh) => {
  if (old.isEqualNode(fresh)) return;
  const [mine, theirs] = [[...old.childNodes], [...fresh.childNodes]];
  const keyed = old.nodeName === 'TBODY' && fresh.nodeName === 'TBODY'
    && [...old.children, ...fresh.children].every(row => row.dataset.key);
  if (!keyed && (old.nodeType !== 1 || old.nodeName !== fresh.nodeName || mine.length !== theirs.length)) {
    return old.replaceWith(fresh);
  }
  // What a visitor has opened stays open.
  const own = old.nodeName === 'DETAILS' ? 'open' : '';
  for (const { name } of [...old.attributes]) if (name !== own && !fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) {
    if (name !== own && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (keyed) rows(old, fresh); else mine.forEach((child, index) => become(child, theirs[index]));
};

// Each element with `data-part` becomes like the one of the same name in this document.
export const takeParts = html => {
  const page = new DOMParser().parseFromString(html, 'text/html');
  const fresh = new Map([...page.querySelectorAll('[data-part]')].map(part => [part.dataset.part, part]));
  for (const part of document.querySelectorAll('[data-part]')) {
    if (fresh.has(part.dataset.part)) become(part, fresh.get(part.dataset.part));
  }
  return page;
};
