/** A piece of the page that shows what it is given. `now` is the server's clock in epoch milliseconds. */
export interface Part<T> {
  readonly element: HTMLElement;
  /** Changes no more of the document than what differs from what stands there. */
  show(data: T, now: number): void;
  /** Time has passed: ages are told anew. */
  tick(now: number): void;
}
