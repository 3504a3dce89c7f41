// Images of links with `data-zoom`, one at a time over the page. Zoom and place stay when another image is shown, so that two
// images are compared at one detail.
const box = document.createElement('dialog');
box.className = 'lightbox';
box.setAttribute('aria-label', 'Image');
box.innerHTML = '<div class="stage"><img alt=""></div><p></p><div class="lightbox-tools">'
  + '<button type="button" data-by="-1">Previous <kbd>←</kbd></button><button type="button" data-by="1">Next <kbd>→</kbd></button>'
  + '<button type="button" data-zoom-by="2">Closer <kbd>+</kbd></button><button type="button" data-zoom-by="0.5">Farther <kbd>-</kbd></button>'
  + '<button type="button" data-zoom-by="0">Whole <kbd>0</kbd></button><button type="button" data-close>Close <kbd>Esc</kbd></button></div>';
document.body.append(box);
const stage = box.querySelector('.stage'), image = box.querySelector('img'), text = box.querySelector('p');
let group = document, at = 0, scale = 1, x = 50, y = 50;
const links = () => [...group.querySelectorAll('a[data-zoom]')];
const place = () => {
  image.style.transform = `scale(${scale})`;
  image.style.transformOrigin = `${x}% ${y}%`;
  box.dataset.scale = scale;
};
const show = index => {
  const all = links();
  if (!all.length) return box.close();
  at = (index + all.length) % all.length;
  const inner = all[at].querySelector('img');
  image.src = all[at].href;
  image.alt = inner.alt;
  text.textContent = [inner.alt, all[at].title].filter(Boolean).join(' · ') + ` (${at + 1} of ${all.length})`;
  place();
};
const zoom = by => {
  scale = by ? Math.min(16, Math.max(1, scale * by)) : 1;
  if (scale === 1) x = y = 50;
  place();
};
const centre = ({ clientX, clientY }) => {
  const { left, top, width, height } = stage.getBoundingClientRect();
  x = Math.min(100, Math.max(0, 100 * (clientX - left) / width));
  y = Math.min(100, Math.max(0, 100 * (clientY - top) / height));
  place();
};
document.addEventListener('click', event => {
  const link = event.target.closest('a[data-zoom]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  group = link.closest('.results, .history') ?? document;
  box.showModal();
  show(links().indexOf(link));
});
box.addEventListener('click', event => {
  const button = event.target.closest('button');
  if (!button) {
    if (event.target === box) box.close();
    else if (event.target.closest('.stage')) { centre(event); zoom(scale >= 16 ? 0 : 2); }
  } else if (button.dataset.by) show(at + Number(button.dataset.by));
  else if (button.dataset.zoomBy) zoom(Number(button.dataset.zoomBy));
  else box.close();
});
stage.addEventListener('pointermove', event => { if (scale > 1 && (event.pointerType === 'mouse' || event.buttons)) centre(event); });
stage.addEventListener('wheel', event => { event.preventDefault(); centre(event); zoom(event.deltaY < 0 ? 1.25 : 0.8); }, { passive: false });
box.addEventListener('keydown', event => {
  const act = { ArrowLeft: () => show(at - 1), ArrowRight: () => show(at + 1), '+': () => zoom(2), '=': () => zoom(2), '-': () => zoom(0.5), 0: () => zoom(0) }[event.key];
  if (act) { event.preventDefault(); act(); }
});
