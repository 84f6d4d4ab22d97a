// A queue between callbacks and one loop that waits.

/** What happened and was not looked at yet. */
export class Inbox<Event> {
  readonly #events: Event[] = [];
  #wake: () => void = () => {};

  push(event: Event): void {
    this.#events.push(event);
    this.#wake();
  }

  /** Gives the next event, or undefined where none came for so many milliseconds. */
  async next(timeoutMs: number): Promise<Event | undefined> {
    if (this.#events.length === 0) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        if (timeoutMs !== Infinity) {
          timer = setTimeout(resolve, Math.min(Math.max(timeoutMs, 0), 2 ** 31 - 1));
        }
      });
      clearTimeout(timer);
    }
    return this.#events.shift();
  }
}
