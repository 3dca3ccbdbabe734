/** Redraws once a second what says how long ago something was. */
import {useEffect, useState} from 'preact/hooks';

export function useWatchedClock(running: boolean) {
  const [, tick] = useState(0);
  useEffect(() => {
    if (!running) return;
    const timer = setInterval(() => !document.hidden && tick(n => n + 1), 1000);
    return () => clearInterval(timer);
  }, [running]);
}
