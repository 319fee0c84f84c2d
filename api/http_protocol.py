"""HTTP/1.1 as uvicorn reads it with llhttp, with an end to how long a request's head may grow."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.request_limits import HEADER_BYTES_MAX, TARGET_BYTES_MAX

#: What is larger is refused before it is a request; what fits, by RequestLimitMiddleware.
HEAD_BYTES_MAX = 2 * (HEADER_BYTES_MAX + TARGET_BYTES_MAX)


class HttpProtocol(HttpToolsProtocol):
    """One connection. The parser itself would keep a head that never ends, until memory does."""

    _is_in_head = False
    _head_bytes = 0

    def on_message_begin(self) -> None:
        """A request begins."""
        self._is_in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head has come in whole."""
        self._is_in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Take in what has come."""
        super().data_received(data)
        if not self._is_in_head:
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self.send_400_response("The request's head is larger than this service takes.")
