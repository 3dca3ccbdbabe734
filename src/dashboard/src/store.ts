/** A value that components follow. */
import {useEffect, useState} from 'preact/hooks';

export class Store<T> {
  #listeners = new Set<() => void>();
  #value: T;

  constructor(value: T) {
    this.#value = value;
  }
  get value(): T {
    return this.#value;
  }
  set value(value: T) {
    if (value === this.#value) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) listener();
  }
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}

export function useStore<T>(store: Store<T>): T {
  const [, redraw] = useState(0);
  useEffect(() => {
    const seen = store.value;
    const redrawOnce = () => redraw(n => n + 1);
    const stop = store.listen(redrawOnce);
    if (seen !== store.value) redrawOnce();
    return stop;
  }, [store]);
  return store.value;
}
