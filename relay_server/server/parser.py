"""What counts as a request: waitress' parser, made stricter and bounded.

Runs in the loop's thread. Whatever two servers might read differently is refused, because that is
how requests are smuggled past a proxy; whatever is wrong is a 4xx, because it is the client's.
"""

from typing import Final

from waitress.parser import HTTPRequestParser, ParsingError, TransferEncodingNotImplemented
from waitress.receiver import ChunkedReceiver
from waitress.utilities import BadRequest

# Of a chunk's first line and of what follows the last chunk; nobody needs more.
_MAX_CHUNK_LINE: Final = 1024
_MAX_TRAILER: Final = 8192


class Parser(HTTPRequestParser):
    """One request."""

    @property
    def held(self) -> int:
        """Bytes of it in memory."""
        return int(self.header_bytes_received) + int(self.body_bytes_received)

    def received(self, data: bytes) -> int:
        """Take what belongs to this request; how much that was."""
        consumed: int = super().received(data)
        body = self.body_rcv
        if isinstance(body, ChunkedReceiver) and (
            len(body.control_line) > _MAX_CHUNK_LINE or len(body.trailer) > _MAX_TRAILER
        ):
            self.error = BadRequest("Chunk too long")
            self.completed = True
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        """Raises: ParsingError."""
        if b"\r\n " in header_plus or b"\r\n\t" in header_plus:
            raise ParsingError("Folded header")
        try:
            super().parse_header(header_plus)
        except TransferEncodingNotImplemented as refusal:
            raise ParsingError(str(refusal)) from None
        except ValueError as error:  # a length of 5,000 digits, a host that is no IPv6 address
            raise ParsingError("Malformed") from error
        # HTTP/1.0 has no chunks, so there the header is still among the others.
        if "TRANSFER_ENCODING" in self.headers or (
            self.chunked and "CONTENT_LENGTH" in self.headers
        ):
            raise ParsingError("Ambiguous length")
