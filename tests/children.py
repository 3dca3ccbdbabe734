"""Servers that tests start die with them, in whatever way these end: one that was killed would leave them behind. Only the standard library."""
import ctypes
import signal

_PR_SET_PDEATHSIG = 1


def die_with_parent():
    """A preexec_fn. Of the main thread's children only: the kernel ties their life to the thread that forks."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
