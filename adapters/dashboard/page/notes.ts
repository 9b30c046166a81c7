import type { DashboardNote } from "../dashboard-update.ts";
import { button, element, setShown } from "./element.ts";

const COPIED_FOR_MS = 2_000;

/** What the program has to say, with commands to copy. It is folded where it would take the whole of a small screen. */
export function notesBox(say: (text: string) => void): {
  readonly element: HTMLElement;
  show(notes: readonly DashboardNote[]): void;
} {
  const list = element("ul");
  const isOpen = matchMedia("(min-width: 641px)").matches;
  const box = element(
    "details",
    { class: "notes", open: isOpen ? "" : undefined },
    element("summary", {}, "To try"),
    list,
  );
  setShown(box, false);
  return {
    element: box,
    show(notes) {
      setShown(box, notes.length > 0);
      list.replaceChildren(...notes.map((note) => noteItem(note, say)));
    },
  };
}

function noteItem({ text, command }: DashboardNote, say: (text: string) => void): HTMLElement {
  const item = element("li", {}, element("span", {}, text));
  if (command === undefined) return item;
  const code = element("code", { tabindex: "0" }, command);
  const copy = button("Copy", { class: "small" }, async () => {
    const isCopied = await copied(command, code);
    copy.textContent = isCopied ? "Copied" : "Selected";
    say(isCopied ? "Copied." : "Selected: copy it by the keyboard.");
    setTimeout(() => {
      copy.textContent = "Copy";
    }, COPIED_FOR_MS);
  });
  copy.setAttribute("aria-label", `Copy: ${text}`);
  item.append(element("span", { class: "command" }, code, copy));
  return item;
}

/** Browsers give the clipboard to pages of HTTPS and of this machine alone: elsewhere the command is selected. */
async function copied(command: string, code: HTMLElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(command);
    return true;
  } catch {
    getSelection()?.selectAllChildren(code);
    return false;
  }
}
