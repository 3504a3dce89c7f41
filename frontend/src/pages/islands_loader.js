// Loads the bundle if the page has islands, and hydrates them. The modules of an island are in one file: a line of JSON with names
// and sizes, then the modules.
const idle = window.requestIdleCallback || setTimeout;
if (document.querySelector('leptos-island')) idle(async () => {
  const modules = new Map();
  const unpack = async file => {
    const bytes = new Uint8Array(await (await fetch(`${folder}/${file}.pack`)).arrayBuffer());
    let at = bytes.indexOf(10) + 1;
    for (const [name, size] of JSON.parse(new TextDecoder().decode(bytes.subarray(0, at)))) {
      modules.set(name, bytes.subarray(at, at += size));
    }
  };
  window.bundlePart = async name =>
    new Response(modules.get(name), { headers: { 'Content-Type': 'application/wasm' } });
  const names = [...document.querySelectorAll('leptos-island')]
    .map(island => island.dataset.component.split('_')[0].toLowerCase());
  const [bundle] = await Promise.all([import(`${folder}/frontend.js`), ...[...new Set(names)].map(unpack)]);
  await bundle.default({ module_or_path: window.bundlePart('frontend_bg') });
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
