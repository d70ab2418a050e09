"""What a server bounds, each with its default and the reason for it."""

from dataclasses import dataclass

from charlm.data.system.errors import SettingsError

MOST_SECONDS = 1_000_000  # the system counts milliseconds, in 31 bits
SECONDS = ("seconds", "arrival", "drain")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Limits:
    """What one server allows.

    Raises:
        SettingsError: a limit below 1, too many seconds, a key that no header can hold.
    """

    streams: int | None = None  # texts of a model side by side; None: what fills the device
    queue: int = 2048  # of a model that may wait beside them: seconds of work on two cores
    texts: int = 256  # of one request: `n` or `best_of` times prompts
    length: int = 100_000  # characters of one text: a third of a second alone
    body: int = 1 << 20  # bytes of a request: a million characters of prompt
    bodies: int = 1 << 28  # bytes of all requests together, so that memory is bounded
    judged: int = 1 << 20  # log-probabilities of one request: of 150 bytes each, and as JSON
    all_judged: int = 1 << 22  # of all requests together, so that memory is bounded
    seconds: int = 300  # of a request, its answer read by the client included
    arrival: int = 30  # seconds in which a request must have arrived
    drain: int = 30  # seconds that running requests have once the server is told to end
    connections: int = 4096  # open at once: each takes a file descriptor and some kilobytes
    key: str | None = None  # what clients must show; None: nobody is asked
    hosts: tuple[str, ...] = ()  # names in `Host` that are served; none: all
    unknown: str | None = None  # what becomes of characters that a model lacks

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if type(value) is int and value < 1:
                raise SettingsError(f"`{name}` is 1 or more, not {value}")
            if name in SECONDS and value > MOST_SECONDS:
                raise SettingsError(f"`{name}` is {MOST_SECONDS:,} at most, which is eleven days")
        try:
            (self.key or "").encode()
        except UnicodeEncodeError as problem:
            raise SettingsError("the key of the server is not utf-8: choose another") from problem


def is_loopback(host: str) -> bool:
    """Whether nobody from another machine reaches that host."""
    return host in LOOPBACK or host.startswith("127.")


RETRY_SECONDS = 1  # when a server that is full may have room again
MOST_LOGPROBS = 20  # likeliest characters beside each; OpenAI's own has 5
MOST_STOPS, MOST_STOP = 16, 256  # stop strings, and characters of one: each is looked for all along
DEFAULT_LENGTH = 16  # OpenAI's
LONG_PROMPT = 2048  # characters: a longer one is read aside, so that it holds up no other text
READ_TOGETHER = 1 << 14  # characters of prompts that are read between two blocks
MOST_HEAD = 1 << 16  # bytes of a request before its body
PACE = 0.04  # seconds between two messages of one stream: sooner than an eye notices
MESSAGES = 4000  # of all streams in a second at most: a third of a core
