// Loads the bundle if the page has islands, and hydrates them. An island's own module is loaded when it is hydrated.
const idle = window.requestIdleCallback || setTimeout;
if (document.querySelector('leptos-island')) idle(async () => {
  const wasm = fetch(`${folder}/frontend_bg.wasm`);
  const bundle = await import(`${folder}/frontend.js`);
  await bundle.default({ module_or_path: wasm });
  bundle.hydrate();
  // As leptos does: children of an island are announced to it before their own islands are hydrated.
  const announced = [];
  const hydrate = async (element, name) => {
    const island = bundle[name];
    if (!island) return console.warn(`the bundle has no island ${name}`);
    announced.at(-1)?.();
    await island(element);
  };
  window.__hydrateIsland = hydrate;
  const walk = async element => {
    const tag = element.tagName.toLowerCase();
    if (tag === 'leptos-island') await hydrate(element, element.dataset.component);
    if (tag === 'leptos-children') announced.push(element.$$on_hydrate);
    for (const child of element.children) await walk(child);
    if (tag === 'leptos-children') announced.pop();
  };
  await walk(document.body);
});
