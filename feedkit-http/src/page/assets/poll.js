// Asks again and again: steadily while it goes well, less and less often while it does not, never in the background.

const LONGEST = 15_000;

export class Poll {
  #run;
  #every;
  #timer = null;
  #failures = 0;
  #busy = false;
  #again = false;
  #options;

  /** `run` is asynchronous, and throws when it fails. `options` are the timers and `hidden()`, for tests. */
  constructor(every, run, options = {}) {
    this.#every = every;
    this.#run = run;
    this.#options = {
      setTimeout: options.setTimeout ?? ((run, wait) => setTimeout(run, wait)),
      clearTimeout: options.clearTimeout ?? ((timer) => clearTimeout(timer)),
      hidden: options.hidden ?? (() => document.hidden),
    };
  }

  /** Asks now, and from then on. If a question is under way, its answer may be stale: then once more after it. */
  async now() {
    if (this.#busy) {
      this.#again = true;
      return;
    }
    this.#cancel();
    this.#busy = true;
    this.#again = false;
    try {
      await this.#run();
      this.#failures = 0;
    } catch {
      // Whoever runs this has said what there is to say.
      this.#failures += 1;
    }
    this.#busy = false;
    if (this.#again) this.now();
    else this.#plan();
  }

  #plan() {
    const wait = this.#failures === 0 ? this.#every : Math.min(LONGEST, Math.max(this.#every, 1000) * 2 ** this.#failures);
    this.#timer = this.#options.setTimeout(() => {
      this.#timer = null;
      if (this.#options.hidden()) this.#plan();
      else this.now();
    }, wait);
  }

  #cancel() {
    if (this.#timer !== null) this.#options.clearTimeout(this.#timer);
    this.#timer = null;
  }
}
