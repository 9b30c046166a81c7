import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { newFolder } from "../../support/run-folder.ts";

const run = promisify(execFile);

/** A program in a terminal of tmux, as people see it. */
export interface Terminal {
  /** The lines that are on the screen, without the spaces at their ends. */
  screen(): Promise<string[]>;
  /** The same with what has scrolled out of it. */
  history(): Promise<string[]>;
  resize(size: { readonly columns: number; readonly rows: number }): Promise<void>;
  /** Presses keys as tmux names them, such as `C-c`. */
  press(key: string): Promise<void>;
  /** Whether the cursor is seen, and whether the second screen is. */
  state(): Promise<{ readonly cursor: boolean; readonly alternate: boolean }>;
  close(): Promise<void>;
}

/**
 * Runs a command in a terminal, on a tmux server of its own. A shell stays when it has ended, which prints its exit status.
 */
export async function startTerminal(
  argv: readonly string[],
  { columns, rows }: { readonly columns: number; readonly rows: number },
): Promise<Terminal> {
  const socket = `${await newFolder("tmux")}/socket`;
  const tmux = async (...args: string[]): Promise<string> =>
    (await run("tmux", ["-S", socket, "-f", "/dev/null", ...args], { env: { ...process.env, TERM: "xterm-256color" } }))
      .stdout;
  const quoted = argv.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
  // Ctrl-C is for the command alone.
  const line = `trap : INT; PS1= ; ${quoted}; echo "exit status $?"; exec cat`;
  await tmux("new-session", "-d", "-x", String(columns), "-y", String(rows), "sh", "-c", line);
  const lines = (text: string): string[] =>
    text
      .replace(/\n+$/, "")
      .split("\n")
      .map((each) => each.trimEnd());
  return {
    screen: async () => lines(await tmux("capture-pane", "-p")),
    history: async () => lines(await tmux("capture-pane", "-p", "-S", "-")),
    resize: async (size) => void (await tmux("resize-window", "-x", String(size.columns), "-y", String(size.rows))),
    press: async (key) => void (await tmux("send-keys", key)),
    async state() {
      const told = (await tmux("display-message", "-p", "#{cursor_flag} #{alternate_on}")).trim();
      return { cursor: told.startsWith("1"), alternate: told.endsWith("1") };
    },
    close: async () => void (await tmux("kill-server").catch(() => {})),
  };
}
