// Follows jobs and runs. An element with `data-live` names the stream of events, and with `data-cursor` where it begins; it
// says when the connection is lost. Each change is announced as the event `live` of the window. With `data-swap` the page at
// this address is fetched, and elements with `data-part` become like those of the answer.
import { takeParts } from './parts.js';

const holder = document.querySelector('[data-live]');
// Between two updates, and before the next try after the server refused the stream, in milliseconds.
const PAUSE = 1500, AGAIN = 5000;
let source, timer, busy = false, more = false, failed = false, cursor = holder.dataset.cursor;

const say = text => { if (holder.textContent !== text) holder.textContent = text; };
const pause = time => new Promise(resolve => setTimeout(resolve, time));

const swap = async () => {
  const answer = await fetch(holder.dataset.swap, { headers: { Accept: 'text/html' } });
  if (!answer.ok) throw new Error(answer.status);
  takeParts(await answer.text());
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
