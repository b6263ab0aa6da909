"""A request that is run on the loop, for applications that never block; when its turn is may not enter."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from typing import Any

from webfw.httpserver import DONE
from webfw.ioloop.start import start
from webfw.iostream import StreamClosedError
from webfw.wsgi.outlet import BURST, ClientDisconnected, Outlet
from webfw.wsgi.run import Run, iterate

__all__ = ["InlineRun"]

#: What no application yields.
_END: Any = object()


class InlineRun(Run):
    """A request run on the loop, for applications that never block.

    What is answered as a whole waits for `answer`, so that several requests can be run one behind the other, and then
    answered one behind the other.
    """

    __slots__ = ("_held",)

    joined = sys.maxsize  # it is in memory anyway, and no thread waits

    #: How to send an answer that is there as a whole; None when it need not wait for `answer`.
    _held: list[tuple[Callable[..., None], tuple[Any, ...]]] | None

    def execute(self) -> None:
        """Call the application; what comes in pieces is answered as far as that goes at once."""
        self._held = []
        rest = self.context.run(self._begin)
        if rest is not None:
            self.container.keep(start(self.exchange.loop, self._stream(*rest), self.context))

    def answer(self) -> None:
        """After `execute`: send the answer, where it is there as a whole."""
        if self._held:
            self.context.run(self._let_go)
        else:
            self._held = None

    def _let_go(self) -> None:
        held, self._held = self._held, None
        for call, args in held or ():
            try:
                call(*args)
            except Exception as error:
                # Border: what an application gives may not be sendable.
                self.fail(error)

    def _begin(self) -> tuple[Any, Iterator[Any], Any] | None:
        """In the application's context: what is to be iterated when it is not all there at once."""
        if self.exchange.record is not None:
            self.exchange.record.handling()
        result: Any = None
        try:
            result = self.container.wsgi_application(self.environ, self.start)
            if not self._take(result):
                iterator = iterate(result)
                chunk = next(iterator, _END)
                if self._is_all(chunk):
                    self._emit(chunk)
                    chunk = next(iterator, _END)
                if chunk is not _END:
                    return result, iterator, chunk
                self._complete()
        except BaseException as error:
            # Border: whatever an application raises becomes a response.
            self._failed(result, error)
            return None
        if type(result) is not list:
            self._close(result)
        self.release()
        return None

    def _failed(self, result: Any, error: BaseException) -> None:
        self._let_go()
        if not isinstance(error, ClientDisconnected):
            self.fail(error)
        self._close(result)
        self.release()
        if isinstance(error, KeyboardInterrupt):
            raise error  # it is the program that is to be stopped

    async def _stream(self, result: Any, iterator: Iterator[Any], chunk: Any) -> None:
        try:
            burst = BURST
            while True:
                sent = self._emit(chunk)
                burst -= len(chunk)
                if sent is not DONE:
                    await sent
                elif not chunk or burst < 0:  # an empty piece says: not yet
                    burst = BURST
                    await asyncio.sleep(0)
                if self._enough:
                    break
                try:
                    chunk = next(iterator)
                except StopIteration:
                    break
            self._complete()
        except asyncio.CancelledError:
            self.exchange.abort_response()
            self._end()
            self._failed(result, ClientDisconnected("the loop is being closed"))
            raise
        except StreamClosedError:
            self.gone = True
            self._end()
            self._failed(result, ClientDisconnected("the client has gone"))
        except BaseException as error:
            # Border: whatever an application raises becomes a response, or a cut connection.
            self._failed(result, error)
        else:
            self._close(result)
            self.release()

    def _complete(self) -> None:
        opened = self._outlet is None and self.status != 0
        super()._complete()
        if opened:
            self._finished(None)

    def _hand(self, call: Callable[..., None], *args: Any) -> None:
        call(*args)

    def _hand_all(self, call: Callable[..., None], *args: Any) -> None:
        if self._held is None:
            call(*args)
        else:
            self._held.append((call, args))

    def _open(self) -> None:
        self._send_head()

    def _put(self, chunk: bytes) -> Any:
        if self._outlet is None:
            return self.exchange.write(chunk)
        self._outlet.put(chunk)
        return DONE

    def _write(self, data: bytes) -> None:
        # It cannot wait for the client, so that what the client has not taken goes to a file.
        if self._outlet is None and not self._over:
            self._outlet = Outlet(self.exchange, self.exchange.loop.call_soon, self._finished, sys.maxsize)
        self._emit(data)
