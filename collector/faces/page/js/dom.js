// Elements from plain values, and one tree made like another in place. Text only ever becomes a text node.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. `props`: attributes; `onclick` and its like are listeners; `hook` runs whenever it is shown anew. */
export function h(tag, props, ...children) {
  return made(document.createElement(tag), props, children);
}

/** The same of SVG. */
export function svg(tag, props, ...children) {
  return made(document.createElementNS(SVG, tag), props, children);
}

function made(element, props, children) {
  element.$on = {};
  element.$heard = new Set();
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) listen(element, name.slice(2), value);
    else if (name === "hook") element.$hook = value;
    else if (name === "value") element.value = value;
    else if (name === "checked" || name === "open") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  if (element.$hook) element.setAttribute("data-hook", "");
  for (const child of children.flat(4)) {
    if (child === null || child === undefined || child === false || child === true) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  if (props && props.value !== undefined && element.tagName === "SELECT") element.value = props.value;
  return element;
}

function listen(element, name, does) {
  if (!element.$heard.has(name)) element.addEventListener(name, (event) => element.$on[name]?.(event));
  element.$heard.add(name);
  element.$on[name] = does;
}

/** Show what `next` shows in `old`: what stays the same is not touched, so nothing flickers and the focus stays. */
export function patch(old, next) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!next.hasAttribute(name) && !(name === "open" && old.tagName === "DETAILS")) old.removeAttribute(name);
  }
  for (const { name, value } of [...next.attributes]) {
    if (old.getAttribute(name) !== value && !(name === "open" && old.tagName === "DETAILS")) {
      old.setAttribute(name, value);
    }
  }
  for (const name of Object.keys(old.$on)) if (!next.$on[name]) delete old.$on[name];
  for (const [name, does] of Object.entries(next.$on)) listen(old, name, does);
  old.$hook = next.$hook;
  if (old.hasAttribute("data-own")) return;
  children(old, next);
  if ("value" in next && old !== document.activeElement && old.value !== next.value) old.value = next.value;
  if (old.type === "radio" || old.type === "checkbox") old.checked = next.checked;
}

function children(old, next) {
  const byKey = new Map();
  for (const child of old.children) if (child.dataset.key) byKey.set(child.dataset.key, child);
  let at = old.firstChild;
  for (const wanted of [...next.childNodes]) {
    const key = wanted.dataset?.key;
    const found = key ? byKey.get(key) : at;
    if (!found || !alike(found, wanted)) {
      old.insertBefore(wanted, at);
      continue;
    }
    if (found === at) at = at.nextSibling;
    else old.insertBefore(found, at);
    patch(found, wanted);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function alike(one, other) {
  return one.nodeName === other.nodeName && one.dataset?.key === other.dataset?.key;
}

/** Put `next` into `place`, and run the hooks of what is there now. */
export function show(place, next) {
  if (place.firstElementChild && alike(place.firstElementChild, next)) patch(place.firstElementChild, next);
  else place.replaceChildren(next);
  for (const element of place.querySelectorAll("[data-hook]")) element.$hook?.(element);
}
