import { button, element } from "./element.ts";

/** Says why there is nothing to ask. */
export function refusalDialog(title: string, text: string): void {
  const leave = button("Close", {}, () => dialog.close());
  const dialog = opened(title, [element("p", { class: "refusal", role: "alert" }, text)], [leave]);
  leave.focus();
}

/**
 * Asks before something is done. Escape and the first button, which has the focus, leave it; the second carries it out, and the dialog
 * says what came of it where it was refused.
 */
export function confirmDialog(options: {
  readonly title: string;
  readonly content: readonly (Node | string)[];
  readonly confirm: string;
  readonly tone?: "danger";
  /** Answers what to say where it was refused. */
  readonly carryOut: () => Promise<string | undefined>;
}): void {
  const { title, content, confirm, tone, carryOut } = options;
  const refusal = element("p", { class: "refusal", role: "alert" });
  const leave = button("Cancel", {}, () => dialog.close());
  const go = button(confirm, { class: tone ?? "primary" }, async () => {
    go.disabled = true;
    const text = await carryOut();
    go.disabled = false;
    if (text === undefined) dialog.close();
    else refusal.textContent = text;
  });
  const dialog = opened(title, [...content, refusal], [leave, go]);
  leave.focus();
}

function opened(
  title: string,
  content: readonly (Node | string)[],
  buttons: readonly HTMLButtonElement[],
): HTMLDialogElement {
  const dialog = element(
    "dialog",
    { "aria-labelledby": "dialog-title" },
    element("h2", { id: "dialog-title" }, title),
    ...content,
    element("div", { class: "buttons" }, ...buttons),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
