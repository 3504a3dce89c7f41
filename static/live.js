// Follows jobs and runs. An element with `data-live` names the stream of events, and with `data-cursor` where it begins; it
// says when the connection is lost. Each change is announced as the event `live` of the window. With `data-swap` the page is
// fetched again, and its elements with `data-part` become like those of the answer.
const holder = document.querySelector('[data-live]');
// Between two updates, and before the next try after the server refused the stream, in milliseconds.
const PAUSE = 1500, AGAIN = 5000;
let source, timer, busy = false, more = false, failed = false, cursor = holder.dataset.cursor;

const say = text => { if (holder.textContent !== text) holder.textContent = text; };
const pause = time => new Promise(resolve => setTimeout(resolve, time));

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
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (keyed) rows(old, fresh); else mine.forEach((child, index) => become(child, theirs[index]));
};
const swap = async () => {
  const answer = await fetch(location.href, { headers: { Accept: 'text/html' } });
  if (!answer.ok) throw new Error(answer.status);
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
  for (const part of document.querySelectorAll('[data-part]')) {
    const fresh = page.querySelector(`[data-part="${part.dataset.part}"]`);
    if (fresh) become(part, fresh);
  }
};
const changed = async () => {
  more = true;
  if (busy) return;
  busy = true;
  while (more) {
    more = false;
    dispatchEvent(new CustomEvent('live'));
    // The stream tells whether the server is there. Once it is again, the page is fetched again.
    if ('swap' in holder.dataset) await swap().then(() => { failed = false; }, () => { failed = true; });
    await pause(PAUSE);
  }
  busy = false;
};

const close = () => {
  source?.close();
  source = undefined;
  clearTimeout(timer);
};
const open = () => {
  if (source || document.hidden) return;
  const address = new URL(holder.dataset.live, location);
  address.searchParams.set('cursor', cursor);
  source = new EventSource(address);
  source.onopen = () => {
    say('');
    if (failed) changed();
  };
  source.addEventListener('change', event => {
    cursor = event.lastEventId;
    changed();
  });
  source.onerror = () => {
    say('The connection is lost: what you see may be old. Trying again …');
    // A browser tries again by itself unless the server has refused.
    if (source?.readyState === EventSource.CLOSED) {
      close();
      timer = setTimeout(open, AGAIN);
    }
  };
};
document.addEventListener('visibilitychange', () => document.hidden ? close() : open());
addEventListener('pagehide', close);
addEventListener('pageshow', open);
open();
