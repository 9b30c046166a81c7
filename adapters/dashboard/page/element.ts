/** Attributes of an element by name; those that are undefined are left out. */
export type Attributes = Readonly<Record<string, string | undefined>>;

/** Makes an element. What it holds is nodes and text, never markup: whatever stands in a ledger stays what it is. */
export function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Attributes = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) setAttribute(made, attribute, value);
  made.append(...children);
  return made;
}

/** The text of an element that holds nothing else. Touches the document only where it differs. */
export function setText(target: Element, text: string): void {
  const node = target.firstChild;
  if (node === null) {
    if (text !== "") target.append(text);
  } else if (node.nodeValue !== text) {
    node.nodeValue = text;
  }
}

/** An attribute, or none where the value is undefined. Touches the document only where it differs. */
export function setAttribute(target: Element, name: string, value: string | undefined): void {
  if (value === undefined) {
    if (target.hasAttribute(name)) target.removeAttribute(name);
  } else if (target.getAttribute(name) !== value) {
    target.setAttribute(name, value);
  }
}

/** Shows an element, or takes it out of sight and out of reach. */
export function setShown(target: HTMLElement, isShown: boolean): void {
  if (target.hidden === isShown) target.hidden = !isShown;
}

/** A button that submits nothing. */
export function button(label: string, attributes: Attributes, onClick: () => void): HTMLButtonElement {
  const made = element("button", { type: "button", ...attributes }, label);
  made.addEventListener("click", onClick);
  return made;
}
