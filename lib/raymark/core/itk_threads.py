"""SimpleITK in one thread: its sums, and so its results, depend on how many there are."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_thread() -> Iterator[None]:
    """Run ITK's filters and registrations in one thread for a while.

    `ImageRegistrationMethod.SetNumberOfThreads` alone leaves its metric with as many threads as there
    are cores; only the default of the whole process reaches it.
    """
    from SimpleITK import ProcessObject

    threads = ProcessObject.GetGlobalDefaultNumberOfThreads()
    ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
