// Draws a page of nodes at random, as a person would with the mouse, and says what the editor saves of it.
// `classes`: names of node classes; `count`: how many nodes of any of them; 0: one of each, linked to nothing.
async (seed, classes, count) => {
  const app = window.comfyAPI.app.app;
  const LiteGraph = window.LiteGraph;
  let state = seed >>> 0;
  const random = () => {  // mulberry32
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  const below = count => Math.floor(random() * count);
  const pick = list => list[below(list.length)];
  const chance = part => random() < part;

  await app.loadGraphData({nodes: [], links: [], groups: [], config: {}, extra: {}, version: 0.4});
  const root = app.rootGraph ?? app.graph;
  const done = [];  // what was done, for whom a difference puzzles
  const attempt = (what, act) => {
    try { act(); done.push(what); } catch (failed) { done.push(`${what}: ${failed.message}`); }
  };
  const add = (graph, type) => {
    const node = LiteGraph.createNode(type);
    if (!node) return null;
    node.pos = [below(2000), below(2000)];
    graph.add(node);
    return node;
  };
  const setValue = widget => {
    const options = widget.options ?? {};
    let values = options.values;
    if (typeof values === "function") values = values(widget);
    if (values && !Array.isArray(values)) values = Object.keys(values);
    if (widget.type === "combo" || values) {
      if (values?.length) widget.value = pick(values);
    } else if (widget.type === "toggle") widget.value = chance(0.5);
    else if (widget.type === "number") {
      const least = Math.max(options.min ?? 0, -1000), most = Math.min(options.max ?? 1000, 100000);
      const found = least + random() * Math.max(most - least, 0);
      widget.value = (options.precision ?? 0) === 0 ? Math.round(found) : Number(found.toFixed(options.precision));
    } else if (["text", "customtext", "string"].includes(widget.type)) {
      widget.value = pick(["", "a fox", "two\nlines", "true", "12", "randomize", "fixed", "[1, 2]"]);
    } else return;
    widget.callback?.(widget.value, app.canvas, widget.node);
  };
  const fill = node => {
    for (const widget of [...(node.widgets ?? [])]) if (chance(0.5)) attempt(`set ${node.id} ${widget.name}`, () => setValue(widget));
  };
  const fits = (given, wanted) => LiteGraph.isValidConnection(given, wanted);
  const link = (graph, from, slot, to, number) => attempt(
    `link ${from.id}.${slot} ${to.id}.${to.inputs[number].name}`, () => from.connect(slot, to, number));
  const through = (graph, from, slot, to, number) => {
    const kind = pick(["Reroute", "Reroute", "Reroute (rgthree)", "mxReroute"]);
    let at = from, out = slot;
    for (let times = 1 + below(2); times; times--) {
      const passing = add(graph, LiteGraph.registered_node_types[kind] ? kind : "Reroute");
      link(graph, at, out, passing, 0);
      [at, out] = [passing, 0];
    }
    link(graph, at, out, to, number);
  };
  const overTheAir = (graph, from, slot, to, number) => {
    const [setting, getting] = [add(graph, "SetNode"), add(graph, "GetNode")];
    if (!setting || !getting) return;
    link(graph, from, slot, setting, 0);
    const name = `kept ${setting.id}`;
    attempt("name", () => { setting.widgets[0].value = name; setting.widgets[0].callback?.(name); });
    attempt("get", () => { getting.widgets[0].value = name; getting.onRename?.(); getting.setName?.(name); getting.widgets[0].callback?.(name); });
    link(graph, getting, 0, to, number);
  };
  const wire = (graph, nodes) => {
    for (const to of nodes) {
      for (let number = 0; number < (to.inputs?.length ?? 0); number++) {  // which may grow
        const input = to.inputs[number];
        if (input.link != null || /UPLOAD|_UI$/.test(input.type) || !chance(input.widget ? 0.15 : 0.8)) continue;
        if (input.widget && chance(0.4)) {
          const primitive = add(graph, "PrimitiveNode");
          link(graph, primitive, 0, to, number);
          fill(primitive);
          continue;
        }
        const sources = nodes.filter(each => each.order_ < to.order_).flatMap(from =>
          (from.outputs ?? []).map((each, slot) => [from, slot]).filter(([_, slot]) => fits(from.outputs[slot].type, input.type)));
        if (!sources.length) continue;
        const [from, slot] = pick(sources);
        if (chance(0.15)) through(graph, from, slot, to, number);
        else if (chance(0.08)) overTheAir(graph, from, slot, to, number);
        else link(graph, from, slot, to, number);
      }
    }
  };
  const switchOff = nodes => {
    for (const node of nodes) if (chance(0.12)) node.mode = pick([2, 4, 4]);
  };
  // Show a widget of a node inside on the face of its subgraph.
  const promote = subgraph => {
    for (const node of [...subgraph.nodes]) {
      for (const input of node.inputs ?? []) {
        if (!input.widget || input.link != null || !chance(0.3)) continue;
        attempt(`promote ${node.id} ${input.name}`, () => {
          const before = subgraph.inputs.find(each => each.type === input.type);
          const slot = before && chance(0.2) ? before : subgraph.addInput(`${input.name}_${subgraph.inputs.length}`, input.type);
          slot.connect(input, node);
        });
      }
    }
  };
  const wrap = (graph, size) => {
    const choice = graph.nodes.filter(each => each.type !== "PrimitiveNode" && !["SetNode", "GetNode"].includes(each.type));
    const start = below(choice.length), some = new Set(choice.slice(start, start + size));
    if (!some.size) return null;
    let made = null;
    attempt(`wrap ${[...some].map(each => each.id)}`, () => { made = graph.convertToSubgraph(some); });
    if (!made) return null;
    promote(made.subgraph);
    for (const widget of made.node.widgets ?? []) if (chance(0.7)) attempt(`face ${widget.name}`, () => setValue(widget));
    return made;
  };

  const nodes = [];
  for (let number = 0; number < (count || classes.length); number++) {
    const node = add(root, count ? pick(classes) : classes[number]);
    if (!node) continue;
    node.order_ = number;
    attempt(`fill ${node.type}`, () => fill(node));
    nodes.push(node);
  }
  await new Promise(over => setTimeout(over, 0));
  if (count) wire(root, nodes);
  if (count) switchOff(nodes);
  if (count && chance(0.5)) {
    const made = wrap(root, 2 + below(4));
    if (made && chance(0.5)) {  // nested: within, or around
      if (chance(0.5)) wrap(made.subgraph, 2);
      else wrap(root, 3);
    }
    if (made && chance(0.2)) made.node.mode = pick([2, 4]);
    const host = made?.node;
    if (host?.graph && chance(0.3)) attempt("copy", () => {  // a second use of the same subgraph
      const copy = LiteGraph.createNode(host.type);
      copy.configure({...structuredClone(host.serialize()), id: root.last_node_id + 1, inputs: host.inputs.map(each => ({name: each.name, type: each.type, widget: each.widget, link: null})), outputs: host.outputs.map(each => ({name: each.name, type: each.type, links: []}))});
      host.graph.add(copy);
    });
  }
  await new Promise(over => setTimeout(over, 0));
  for (const node of nodes) delete node.order_;
  const saved = JSON.parse(JSON.stringify(root.serialize()));
  // Scripts of some packs fail on a node that is linked to nothing.
  const exported = await app.graphToPrompt().then(made => made.output, () => ({}));
  return JSON.stringify({saved, exported, done});
}
